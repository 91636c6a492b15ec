"""Collectors of logs with the configuration of docs/clients.md, where they are installed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.access.client import Client
from tests.acceptance.clients.examples import KEY, PLACE, Counted, blocks
from tests.support import wait_until
from tests.support.s3 import LOOPBACK

# What its own packages put around a configuration: where messages come from, and go to.
SYSLOG_NG = """@version: 3.38
@include "scl.conf"
source s_app { file("{{directory}}/app.log" follow-freq(0.1) flags(no-parse)); };
{destination}
log { source(s_app); destination(d_brigade); };
"""
RSYSLOG = """global(workDirectory="{directory}")
module(load="imfile")
input(type="imfile" File="{directory}/app.log" Tag="app:" addMetadata="off")
"""


class Collector(NamedTuple):
    """A program that follows log files: how it is started, and what holds a line of one."""

    section: str
    program: str
    file: str
    arguments: tuple[str, ...]
    member: bytes
    stream: str
    # A file beside the program's own directory.
    needs: str = "*"

    def configuration(self, client: Client, directory: Path) -> str:
        """Return the page's, for a service without TLS and the log files of a directory."""
        place = f"http://{LOOPBACK}:{client.service.port}"
        if self.program == "syslog-ng":
            text = SYSLOG_NG.replace("{destination}", blocks(self.section, "")[0])
            text = text.replace("disk-buffer(reliable(yes)", 'disk-buffer(dir(".") reliable(yes)')
            text = text.replace(PLACE, place).replace("{{directory}}", str(directory))
        elif self.program == "rsyslogd":
            text = RSYSLOG.format(directory=directory) + blocks(self.section, "")[0]
            text = text.replace("events.example.com", LOOPBACK)
            text = text.replace("443", str(client.service.port))
            text = text.replace('usehttps="on"', 'usehttps="off"')
        else:
            text = blocks(self.section, "yaml")[0].replace("events.example.com", LOOPBACK)
            text = text.replace("443", str(client.service.port)).replace("tls: on", "tls: off")
            text = text.replace("/var/log/app", str(directory))
        return text.replace("bb_…", KEY)

    @property
    def is_installed(self) -> bool:
        """Whether the program is here, and what it needs."""
        found = shutil.which(self.program)
        return found is not None and any(Path(found).parents[1].glob(self.needs))

    @contextmanager
    def running(self, client: Client, directory: Path) -> Iterator[None]:
        """Run it in a directory of log files."""
        (directory / self.file).write_text(self.configuration(client, directory))
        with (directory / "collector.out").open("wb") as out:
            process = subprocess.Popen(
                [self.program, *self.arguments], cwd=directory, stdout=out, stderr=out
            )
        try:
            yield
        finally:
            process.kill()
            process.wait()


COLLECTORS = [
    Collector(
        "Fluent Bit",
        "fluent-bit",
        "bit.yaml",
        ("-c", "bit.yaml"),
        b'"log":"%s"',
        "fluent-bit",
    ),
    Collector(
        "syslog-ng",
        "syslog-ng",
        "ng.conf",
        ("-F", "-f", "ng.conf", "-R", "persist", "-p", "pid", "-c", "control"),
        b'"MESSAGE":"%s"',
        "syslog-ng",
    ),
    Collector(
        "rsyslog",
        "rsyslogd",
        "rs.conf",
        ("-n", "-f", "rs.conf", "-i", "pid"),
        b'"message":"%s"',
        "rsyslog",
        "lib/**/rsyslog/omhttp.so",
    ),
]
# Debian has no package of the first and of the last one's module, and syslog-ng would replace a
# machine's own logger. Skipped here, before a service is started for them.
each_collector = pytest.mark.parametrize(
    "collector",
    [
        pytest.param(
            each, id=each.program, marks=pytest.mark.skipif(not each.is_installed, reason="absent")
        )
        for each in COLLECTORS
    ],
)


@each_collector
def test_a_collector_delivers_once(
    client: Client, counted: Counted, tmp_path: Path, collector: Collector
) -> None:
    """Lines of a log file become events, each once."""
    (tmp_path / "app.log").write_text("one\ntwo\n")
    with collector.running(client, tmp_path):
        lines = counted.stored(collector.stream, 2)
    assert collector.member % b"one" in lines[0]
    assert collector.member % b"two" in lines[1]


@each_collector
def test_a_collector_retries_a_503(full: Client, tmp_path: Path, collector: Collector) -> None:
    """What a full service refuses is sent again, once the service has room."""
    counted = Counted(full)
    before = counted.responses(503)
    (tmp_path / "app.log").write_text("late\n")
    try:
        with collector.running(full, tmp_path):
            wait_until(lambda: counted.responses(503) > before, timeout=60, what="a 503")
            full.s3.clear()
            assert collector.member % b"late" in counted.stored(collector.stream, 1)[0]
    finally:
        full.s3.clear()
