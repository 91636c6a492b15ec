"""Which of gunicorn's addresses other machines may reach."""

import pytest

from app.servers.listening import is_exposed


@pytest.mark.parametrize(
    ("listeners", "exposed"),
    [
        ([("127.0.0.1", 8080)], False),
        ([("::1", 8080), ("localhost", 1)], False),
        (["/run/service.sock"], False),
        ([("127.0.0.1", 8080), ("::", 8080)], True),
        ([("0.0.0.0", 8080)], True),
        ([("10.0.0.1", 8080)], True),
        ([("host.example", 8080)], True),
    ],
)
def test_only_loopback_is_not_exposed(
    listeners: list[tuple[str, int] | str], *, exposed: bool
) -> None:
    """One address beyond loopback is enough; a Unix socket is none."""
    assert is_exposed(listeners) is exposed
