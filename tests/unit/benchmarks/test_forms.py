"""The rows of compressed, chunked and large bodies: their ratios, and the aims beside them."""

import pytest

from benchmarks.comparison import forms
from benchmarks.comparison.measurement import Cell


def _cell(form: str, cpu: float, *, contender: str = "disk", payloads: int = 10) -> Cell:
    return Cell(
        contender=contender, payloads_per_request=payloads, form=form, cpu_us_per_payload=cpu
    )


@pytest.mark.parametrize(("cpu", "verdict"), [(13.0, "met"), (14.0, "NOT MET")])
def test_a_form_is_compared_with_the_plain_body(cpu: float, verdict: str) -> None:
    """The aim of 1.35 holds for CPU per request over the same body uncompressed."""
    text = forms.table([_cell("plain", 10.0), _cell("gzip", cpu)])
    assert "<= 1.35" in text
    assert text.splitlines()[-1].endswith(f"  {verdict}")


def test_fluent_bit_is_compared_in_the_same_form() -> None:
    """Its gzip row, not its plain one, is what the service's gzip row is over."""
    other = [
        _cell("plain", 40.0, contender="fluent-bit"),
        _cell("gzip", 20.0, contender="fluent-bit"),
    ]
    mine = [_cell("plain", 8.0), _cell("gzip", 10.0)]
    [gzip] = [
        line
        for line in forms.table([*mine, *other]).splitlines()
        if line.startswith("disk") and "gzip" in line
    ]
    assert gzip.split()[3:8] == ["100", "1.25", "<=", "1.35", "0.5"]


def test_plain_bodies_alone_make_no_table() -> None:
    """Without another form there is nothing to compare."""
    assert forms.table([_cell("plain", 10.0)]) == ""
