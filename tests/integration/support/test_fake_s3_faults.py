"""The fake S3's faults, and what a test reads out of it."""

import contextlib
import gzip
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
import zstandard
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.integration.support.client import (
    BODY,
    make_client,
    put,
    raw_connection,
    refusal,
)
from tests.support import ROOT
from tests.support.s3 import LOOPBACK, FakeS3, Fault


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (400, "EntityTooLarge"),
        (409, "ConditionalRequestConflict"),
        (501, "NotImplemented"),
    ],
)
def test_an_error_is_answered_until_cleared(
    s3: FakeS3, client: Any, status: int, code: str
) -> None:
    """boto3 sees the error that was asked for, and nothing is stored before the faults end."""
    s3.faults(Fault(kind="error", status=status, code=code))
    assert refusal(put, client) == (status, code)
    assert s3.objects() == {}
    s3.clear()
    put(client)
    assert list(s3.objects()) == ["k"]


def test_a_lost_answer_leaves_the_object(s3: FakeS3, client: Any) -> None:
    """The client sees a broken connection, and its retry a 412."""
    s3.faults(Fault(kind="lose_answer", times=1))
    with pytest.raises(ConnectionClosedError):
        put(client, IfNoneMatch="*")
    assert refusal(put, client, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert s3.objects()["k"].stored_count == 1


@pytest.mark.parametrize("kind", ["reset", "close_early"])
def test_a_broken_connection_stores_nothing(s3: FakeS3, client: Any, kind: Any) -> None:
    """Whether by RST in mid-body or by a clean end, the client gets no answer and no object."""
    s3.faults(Fault(kind=kind))
    # A RST may reach the client while it still sends: then it is another error of botocore's.
    with pytest.raises(BotoCoreError):
        put(client, body=bytes(2_000_000))
    assert s3.objects() == {}
    assert s3.counts().faults == {kind: 1}


def test_an_evil_store_keeps_a_half(s3: FakeS3, client: Any) -> None:
    """Only a look at the object tells its half from the whole: size and checksum are its own."""
    s3.faults(Fault(kind="half", times=1), Fault(kind="half", keep=0, key_contains="empty"))
    for key in ("k", "empty"):
        with pytest.raises(ConnectionClosedError):
            put(client, key=key, IfNoneMatch="*")
    assert refusal(put, client, IfNoneMatch="*") == (412, "PreconditionFailed")
    head = client.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(BODY) // 2
    put(client, key="like", body=BODY[: len(BODY) // 2])
    like = client.head_object(Bucket="bucket", Key="like", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == like["ChecksumCRC32"]
    assert s3.objects()["empty"].body == b""


def test_a_hung_put_is_dropped_with_its_client(s3: FakeS3) -> None:
    """No answer comes, and what the client gave up on is not stored later."""
    s3.faults(Fault(kind="hang"))
    with (
        contextlib.closing(make_client(s3, read_timeout=0.2)) as hasty,
        pytest.raises(ReadTimeoutError),
    ):
        put(hasty)
    s3.wait_until(lambda counts: counts.faults == {"hang": 1}, what="the PUT")
    s3.clear()
    assert s3.objects() == {}


@pytest.mark.parametrize("kind", ["hang", "slow"])
def test_clearing_frees_what_is_held_up(s3: FakeS3, client: Any, kind: Any) -> None:
    """A request that hangs or is slowed goes on at once when the faults are cleared."""
    s3.faults(Fault(kind=kind, seconds=60))
    sender = threading.Thread(target=put, args=(client,))
    sender.start()
    s3.wait_until(lambda counts: counts.faults == {kind: 1}, what="the PUT")
    assert s3.objects() == {}
    s3.clear()
    sender.join(5)
    assert not sender.is_alive()
    assert list(s3.objects()) == ["k"]


def test_a_slow_put_lands_after_its_client_has_left(s3: FakeS3) -> None:
    """A late PUT takes effect: what a client must reckon with after a time-out."""
    s3.faults(Fault(kind="slow", seconds=60))
    with (
        contextlib.closing(make_client(s3, read_timeout=0.2)) as hasty,
        pytest.raises(ReadTimeoutError),
    ):
        put(hasty)
    s3.wait_until(lambda counts: counts.faults == {"slow": 1}, what="the PUT")
    assert s3.objects() == {}
    s3.clear()
    s3.wait_until(lambda counts: counts.stored == 1, what="the late PUT")


def test_faults_strike_where_and_as_often_as_asked(s3: FakeS3, client: Any) -> None:
    """`times`, `key_contains` and `methods` bound a rule, and the next rule has its turn."""
    s3.faults(
        Fault(kind="error", code="SlowDown", times=2, key_contains="bad"),
        Fault(kind="error", code="AccessDenied", status=403, methods=("HEAD", "GET")),
    )
    put(client, key="good")
    codes = [refusal(put, client, key="so-bad")[1] for _ in range(2)]
    put(client, key="so-bad")
    assert codes == ["SlowDown", "SlowDown"]
    assert refusal(client.get_object, Bucket="bucket", Key="good") == (403, "AccessDenied")
    assert refusal(client.head_object, Bucket="bucket", Key="good") == (403, "403")


def chances(seed: int) -> list[bool]:
    """Put forty times against a fault of one half; return which were struck."""
    with FakeS3(seed=seed) as s3, contextlib.closing(make_client(s3)) as client:
        s3.faults(Fault(kind="error", probability=0.5))
        for number in range(40):
            with contextlib.suppress(ClientError):
                put(client, key=str(number))
        stored = s3.objects()
        return [str(number) not in stored for number in range(40)]


def test_chance_comes_from_the_seed() -> None:
    """A run with a probability can be had again, and another one too."""
    first = chances(1)
    assert 8 < sum(first) < 32
    assert chances(1) == first
    assert chances(2) != first


def test_down_refuses_and_up_has_everything(s3: FakeS3, client: Any) -> None:
    """Going down breaks connections and refuses new ones; the port and the objects are kept."""
    put(client)
    port = s3.port
    with raw_connection(s3, "GET /bucket/k HTTP/1.1\nConnection: keep-alive") as sock:
        assert sock.recv(100_000).startswith(b"HTTP/1.1 200")
        s3.stop_listening()
        s3.stop_listening()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with pytest.raises(EndpointConnectionError):
        put(client, key="k2")
    assert list(s3.objects()) == ["k"]
    s3.listen_again()
    s3.listen_again()
    put(client, key="k2")
    assert (s3.port, list(s3.objects())) == (port, ["k", "k2"])


def test_the_server_ends_with_its_parent() -> None:
    """Tied to a connection it leaves no process behind when a test run is killed."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "tests.support.s3", "--tied", port]
        with subprocess.Popen(command, cwd=ROOT) as process:
            with listener.accept()[0] as tie:
                assert len(tie.recv(100).split()) == 2
                assert process.poll() is None
            assert process.wait(20) == 0


def test_lines_are_numbered_and_decompressed(s3: FakeS3, client: Any) -> None:
    """With any compression, by header or by extension, a line is a line."""
    text = b"one\ntwo\n"
    put(client, "a", gzip.compress(b"one\n") + gzip.compress(b"two\n"), ContentEncoding="gzip")
    put(client, "b.gz", gzip.compress(text))
    zstd = zstandard.ZstdCompressor().compress
    put(client, "c", zstd(b"one\n") + zstd(b"two\n"), ContentEncoding="zstd")
    put(client, "d.zst", zstd(text))
    put(client, "e", text)
    put(client, "f", b"")
    expected = [(key, n) for key in ("a", "b.gz", "c", "d.zst", "e") for n in (1, 2)]
    assert [(key, number) for key, number, _ in s3.lines()] == expected
    assert [line for _, _, line in s3.lines()] == [b"one", b"two"] * 5


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("k", b'{"a":1}\n{"a"'),
        ("k.gz", gzip.compress(BODY)[:-1]),
        ("k.zst", zstandard.ZstdCompressor().compress(BODY)[:-1]),
    ],
    ids=["plain", "gzip", "zstd"],
)
def test_an_object_that_is_not_whole_is_an_error(
    s3: FakeS3, client: Any, key: str, body: bytes
) -> None:
    """A torn object is never read as if it were a shorter one."""
    put(client, key=key, body=body)
    with pytest.raises(AssertionError, match=key):
        s3.lines()
