"""The alerts: each kind of failure that needs an operator has one."""

import re
from pathlib import Path

RULES = Path(__file__).resolve().parents[3] / "deploy" / "prometheus-rules.yml"


def test_failures_that_do_not_pass_by_themselves_have_an_alert() -> None:
    """An alert watches each reason that an operator has to mend, and none that passes."""
    found = re.findall(r'put_failures_total\{reason=~?"([a-z|]+)"', RULES.read_text())
    assert {reason for group in found for reason in group.split("|")} == {
        "denied",
        "bucket",
        "other",
    }
