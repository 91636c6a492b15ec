"""Fluent Bit with the configuration of docs/clients.md, where it is installed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.access.client import Client
from tests.acceptance.clients.examples import KEY, Counted, blocks
from tests.support import wait_until
from tests.support.s3 import LOOPBACK


@contextmanager
def fluent_bit(client: Client, directory: Path) -> Iterator[Path]:
    """Run it on the log files of a directory, without TLS; yields its own log."""
    program = shutil.which("fluent-bit")
    if program is None:
        # It is in no distribution's packages: nothing could install it on CI.
        pytest.skip("fluent-bit is not installed")
    text = blocks("Fluent Bit", "yaml")[0]
    for ours, theirs in (
        ("events.example.com", LOOPBACK),
        ("port: 443", f"port: {client.service.port}"),
        ("tls: on", "tls: off"),
        ("bb_…", KEY),
        ("/var/log/app", str(directory)),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    (directory / "fluent-bit.yaml").write_text(text)
    own_log = directory / "fluent-bit.out"
    with own_log.open("wb") as out:
        process = subprocess.Popen(
            [program, "-c", directory / "fluent-bit.yaml"], stdout=out, stderr=out
        )
    try:
        yield own_log
    finally:
        process.kill()
        process.wait()


def test_fluent_bit_delivers_once(client: Client, counted: Counted, tmp_path: Path) -> None:
    """Lines of a log file become events, each once."""
    (tmp_path / "app.log").write_text("one\ntwo\n")
    with fluent_bit(client, tmp_path):
        lines = counted.stored("fluent-bit", 2)
    assert b'"log":"one"' in lines[0]
    assert b'"log":"two"' in lines[1]


def test_fluent_bit_retries_a_503(full: Client, tmp_path: Path) -> None:
    """What a full service refuses is sent again, once the service has room."""
    counted = Counted(full)
    before = counted.responses(503)
    (tmp_path / "app.log").write_text("late\n")
    try:
        with fluent_bit(full, tmp_path):
            wait_until(lambda: counted.responses(503) > before, timeout=60, what="a 503")
            full.s3.clear()
            assert b'"log":"late"' in counted.stored("fluent-bit", 1)[0]
    finally:
        full.s3.clear()
