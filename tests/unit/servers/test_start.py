"""What gunicorn's master does before it serves: addresses, and checks."""

import os
import socket
from types import SimpleNamespace
from typing import Any, Self

import pytest

from app.servers import listening
from app.servers.listening import addresses
from app.servers.preflight import find_fault
from workers.errors import SettingsError


class Probe:
    """A socket for IPv6, as a system has it."""

    def __init__(self, only_ipv6: int | None) -> None:
        self._only_ipv6 = only_ipv6

    def __call__(self, *_: object) -> "Probe":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def bind(self, _: object) -> None:
        if self._only_ipv6 is None:
            raise OSError("no IPv6")

    def getsockopt(self, *_: object) -> int | None:
        return self._only_ipv6


@pytest.mark.parametrize(
    ("only_ipv6", "wanted"),
    [
        (0, ["[::]:8000"]),
        (1, ["[::]:8000", "0.0.0.0:8000"]),
        (None, ["0.0.0.0:8000"]),
    ],
    ids=["dual stack", "bindv6only", "no IPv6"],
)
def test_a_port_is_served_on_all_addresses(
    monkeypatch: pytest.MonkeyPatch, only_ipv6: int | None, wanted: list[str]
) -> None:
    """Of both families, where the system has both."""
    fake = SimpleNamespace(**{**vars(socket), "socket": Probe(only_ipv6)})
    monkeypatch.setattr(listening, "socket", fake)
    assert addresses(8000) == wanted


def test_without_a_port_only_loopback_is_served() -> None:
    """A service without a port in its settings is reached by nobody else."""
    assert addresses(None) == ["127.0.0.1:8000"]


def test_a_check_that_passes_finds_nothing() -> None:
    """It runs in a process of its own."""
    parent = os.getpid()

    def check() -> None:
        assert os.getpid() != parent

    assert find_fault(check) is None


def fail_as(error: BaseException) -> Any:
    """Return a check that raises."""

    def check() -> None:
        raise error

    return check


def test_a_check_that_fails_says_why() -> None:
    """Errors of ours by their text, others by their kind too; an end without a word is one."""
    assert find_fault(fail_as(SettingsError("X: is wrong"))) == "X: is wrong"
    assert find_fault(fail_as(ZeroDivisionError("0"))) == "ZeroDivisionError: 0"
    assert find_fault(lambda: os._exit(3)) == "the checks ended with status 3"
