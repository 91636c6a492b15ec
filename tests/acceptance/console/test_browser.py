"""The console in Chromium: an outage, a replay, hostile texts, a keyboard, a phone, the dark."""

import json

from tests.acceptance.console.console import Console
from tests.support.s3 import Fault

HOSTILE = "<img src=x onerror=pwned=1><script>pwned=1</script>"
MEANS = """
const { means } = await import("/console/chart.js");
const { rate } = await import("/console/format.js");
const at = [...Array(40).keys()].map((n) => 2 * n);
const busy = at.map((_, n) => (n < 20 ? 0.1 * n + 1 / 3 : 0));
return [...means(at, busy).slice(-3), ...[0, 1e-15, 0.04, 0.05, 9.96, 12.3].map(rate)];
"""


def verdict(state: str) -> str:
    """Return the condition that the first line is in a state."""
    return f"document.querySelector('#verdict').dataset.state == '{state}'"


def test_an_outage_comes_and_goes(console: Console) -> None:
    """The first line says that S3 is away, since when and why; and later that all is there."""
    console.post([{"n": 1}])
    console.service.wait_stats(lambda stats: stats["pending"] == 0)
    console.s3.stop_listening()
    console.post([{"n": 2}, {"n": 3}])
    console.until(verdict("late"), "the outage")
    assert console.text("#verdict-text") == "2 payloads are not in S3: it cannot be reached."
    assert "ago" in console.text("#verdict-since")
    assert "Could not connect to the endpoint URL" in console.text("#verdict-why")
    assert "network" in console.text("#causes")
    assert console.page.run("return document.title").startswith("!")
    console.s3.listen_again()
    console.until(verdict("ok"), "the end of the outage")
    console.until(
        "document.querySelector('#verdict-text').innerText == 'Everything is in S3.'", "S3"
    )
    assert "orders" in console.text("#objects")


def test_a_dead_letter_is_replayed_by_clicking(console: Console) -> None:
    """It is shown with its reason and its lines, and one click sends it to S3."""
    console.s3.faults(Fault(kind="error", status=400, code="EntityTooLarge"))
    console.post([{"text": HOSTILE}], stream="letters")
    console.until("document.querySelector('#letters tbody tr')", "the dead letter")
    assert "EntityTooLarge" in console.text("#letters")
    console.s3.clear()
    console.page.click("#letters button")
    console.until("document.querySelector('#look').open", "its lines")
    console.until("document.querySelector('#look-lines').innerText.includes('img')", "its lines")
    assert json.loads(console.text("#look-lines li")) == {"text": HOSTILE}
    console.page.press("Escape")
    console.until("!document.querySelector('#look').open", "the end of the dialog")
    console.page.click("#letters button + button")
    console.until("!document.querySelector('#letters tbody tr')", "the replay")
    assert console.text("#message").startswith("1 payload of ")
    console.service.wait_stats(lambda stats: stats["dead"] == 0 and stats["pending"] == 0)
    keys = [key for key, _, _ in console.s3.lines() if key.startswith("letters/")]
    assert len(keys) == 1


def test_hostile_texts_stay_texts(console: Console) -> None:
    """Payloads and the errors of a store are shown as they are, and nothing of them runs."""
    console.s3.faults(Fault(kind="error", status=400, code=f"Odd{HOSTILE}"))
    console.post([{HOSTILE: HOSTILE}], stream="hostile")
    console.until("document.querySelector('#processes').innerText.includes('onerror')", "the error")
    assert console.page.run("return window.pwned === undefined") is True
    console.s3.clear()
    console.until("document.querySelector('#objects').innerText.includes('hostile')", "the object")
    console.page.run(
        "const row = [...document.querySelectorAll('#objects tbody tr')]"
        ".find((row) => row.innerText.includes('hostile')); row.querySelector('button').click();"
    )
    console.until(
        "document.querySelector('#look-lines').innerText.includes('onerror')", "its lines"
    )
    assert json.loads(console.text("#look-lines li")) == {HOSTILE: HOSTILE}
    assert console.page.run("return window.pwned === undefined") is True
    assert console.page.run("return document.querySelectorAll('main img, dialog img').length") == 0


def test_a_receipt_is_looked_up_by_keyboard(console: Console) -> None:
    """Tab reaches everything that can be pressed, visibly; Enter looks a receipt up."""
    answer = console.service.post("/payloads/typed", [{"n": 1}]).json()
    console.until("document.querySelector('#objects').innerText.includes('typed')", "the object")
    console.page.run("document.querySelector('#receipt').focus();")
    console.page.call("Input.insertText", text=answer["receipts"][0]["id"])
    console.page.press("Enter")
    console.until("document.querySelector('#receipt-result dl')", "the receipt")
    assert "stored" in console.text("#receipt-result")
    console.page.run("document.activeElement.blur(); scrollTo(0, 0);")
    reached = set()
    for _ in range(60):
        console.page.press("Tab")
        reached.add(
            console.page.run(
                "const node = document.activeElement;"
                "const seen = getComputedStyle(node).outlineStyle != 'none';"
                "if (node === document.body) return 'the end';"
                "return seen ? node.innerText || node.id : `unseen ${node.outerHTML}`;"
            )
        )
    assert "Look" in reached
    assert "receipt" in reached
    assert not [each for each in reached if each.startswith("unseen")]


def test_a_phone_and_the_dark(console: Console) -> None:
    """At a phone's width nothing is beside the screen; in the dark the page is dark."""
    console.post(
        [{"n": 1}], stream="a-stream-with-a-name-of-sixty-four-characters-that-has-no-breaks"
    )
    console.until(
        "document.querySelector('#objects').innerText.includes('sixty-four')", "the object"
    )
    brightness = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    for width in (320, 390, 768):
        console.page.resize(width, 800)
        assert console.page.run("return document.documentElement.scrollWidth") <= width
    assert min(console.page.run(brightness)) > 200
    console.page.resize(390, 800, scheme="dark")
    assert max(console.page.run(brightness)) < 60


def test_it_says_when_its_figures_are_old(console: Console) -> None:
    """When the service does not answer the page says so, how old the figures are, and recovers."""
    console.page.call("Network.setBlockedURLs", urls=["*/console/data"])
    console.until("!document.querySelector('#stale').hidden", "the warning")
    assert "old: the service cannot be reached." in console.text("#stale")
    assert console.text("#age-text").endswith("old")
    console.page.call("Network.setBlockedURLs", urls=[])
    console.until("document.querySelector('#stale').hidden", "its end")
    console.forgive_errors()


def test_rest_is_shown_as_zero(console: Console) -> None:
    """After a burst the chart's rates are 0: not -0, nor a rounding error shown as 0.0."""
    shown = console.page.run(MEANS)
    assert shown == [0, 0, 0, "0", "0", "0", "0.1", "10.0", "12"]


def test_a_key_in_the_address_is_no_hindrance(console: Console) -> None:
    """A bookmark may have user and key before the host: the page's own requests go without them."""
    console.page.leave()
    console.page.go(console.origin.replace("//", "//me:key@") + "/console")
    console.until("(document.querySelector('#age')?.dataset.state ?? '') != ''", "an answer")
    assert console.text("#age-text").startswith("as of")
    assert "me:key@" in console.page.run("return document.URL")
