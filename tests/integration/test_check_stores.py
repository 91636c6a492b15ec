"""`flask check` before stores and proxies that would corrupt, refuse or hide: each is named."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.certificates import make_certificate
from tests.support.proxy import (
    Headers,
    Manners,
    Passing,
    Proxy,
    Refusal,
    canonical,
    refuse_chunks,
    refuse_conditions,
    refuse_larger,
    without,
)
from tests.support.s3 import FakeS3
from tests.support.s3.others import run_moto
from workers.operate.checks import Result, run_checks, variants
from workers.spool.spool import Spool
from workers.upload.s3 import Bucket

# Not all stores return the checksum of an object.
UNCHECKED = without("x-amz-checksum")


@pytest.fixture
def proxy(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stand before the fake S3."""
    with Proxy(s3.port) as proxy:
        for name, value in proxy.environ().items():
            monkeypatch.setenv(name, value)
        yield proxy


def check(s3: FakeS3, spool: Path, **environ: object) -> list[Result]:
    """Run all checks as the command does."""
    settings = settings_for(spool, S3_BUCKET=s3.bucket, **environ)
    bucket = Bucket.connect(settings)
    results = list(run_checks(settings, bucket, Spool(spool), others=variants(settings)))
    bucket.close()
    return results


def faults(results: list[Result]) -> list[str]:
    """Return what failed."""
    return [f"{result.what}: {result.fault}" for result in results if result.fault]


def unpack_on_the_way(body: bytes) -> bytes:
    """Decompress what is compressed, as some proxies do."""
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def frame(passing: Passing) -> Passing:
    """Keep the framing of a body as data, as s3rver does with chunks."""
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(passing.body), passing.body)
    names = ("x-amz-checksum-crc32", "x-amz-content-sha256")
    kept = {name: value for name, value in passing.headers.items() if name not in names}
    return Passing(passing.method, passing.path, kept, body if passing.body else b"")


def add_to_the_encoding(headers: Headers) -> Headers:
    """Leave the framing in the object's encoding, as SeaweedFS does."""
    return [(n, f"{v},aws-chunked" if n.lower() == "content-encoding" else v) for n, v in headers]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_over_tls_all_is_well(
    s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    """A strict store over TLS that writes headers as Go does passes, and keeps nothing."""
    certificate = make_certificate(tmp_path)
    manners = Manners(refuse=refuse_chunks, headers=canonical)
    with Proxy(s3.port, certificate=certificate, manners=manners) as proxy:
        for name, value in proxy.environ().items():
            monkeypatch.setenv(name, value)
        results = check(s3, tmp_path / "spool", COMPRESSION=compression)
    assert faults(results) == []
    assert [result.note for result in results if result.note] == []
    assert s3.objects() == {}


def test_before_another_store_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto, which others wrote, passes too: over TLS, behind a proxy that changes headers."""
    certificate = make_certificate(tmp_path)
    manners = Manners(headers=canonical)
    with run_moto() as moto, Proxy(moto.port, certificate=certificate, manners=manners) as proxy:
        for name, value in proxy.environ().items():
            monkeypatch.setenv(name, value)
        settings = settings_for(tmp_path / "spool")
        bucket = Bucket.connect(settings)
        results = list(run_checks(settings, bucket, Spool(settings.spool_dir)))
        bucket.close()
    assert faults(results) == []


@pytest.mark.parametrize(
    ("manners", "what", "words"),
    [
        (Manners(refuse=refuse_conditions), "put", "with S3_CONDITIONAL_PUT=off it works"),
        (Manners(refuse=refuse_larger(1 << 20)), "put", "raise its limit"),
        (Manners(request=frame), "head", "bytes of"),
        (Manners(body=unpack_on_the_way), "get", "does a proxy decompress it"),
        (Manners(body=unpack_on_the_way, headers=UNCHECKED), "get", "COMPRESSION=none"),
        (Manners(headers=add_to_the_encoding), "get", "gzip,aws-chunked"),
        (Manners(headers=without("content-encoding")), "get", "COMPRESSION=none"),
        (Manners(headers=without("x-amz-meta-seg")), "head", "(segment)"),
        (Manners(body=lambda body: body[:-1], headers=UNCHECKED), "get", "other bytes"),
    ],
)
def test_what_would_corrupt_is_named(
    s3: FakeS3, proxy: Proxy, tmp_path: Path, *, manners: Manners, what: str, words: str
) -> None:
    """The step that fails says what is wrong, and the setting that helps where one does."""
    proxy.behave(manners)
    fault, *_ = faults(check(s3, tmp_path))
    assert fault.startswith(what)
    assert words in fault


def test_a_checksum_that_a_store_cannot_have(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """Where a PUT is refused for its checksum, the variable that leaves it out is named."""

    def refuse(passing: Passing) -> Refusal | None:
        return (
            Refusal(400, "InvalidArgument") if "x-amz-checksum-crc32" in passing.headers else None
        )

    proxy.behave(Manners(refuse=refuse))
    fault, *_ = faults(check(s3, tmp_path))
    assert "with AWS_REQUEST_CHECKSUM_CALCULATION=when_required it works" in fault
    assert s3.objects() == {}


def test_an_address_that_a_store_cannot_have(
    s3: FakeS3, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that wants the bucket in the path, where boto3's config says otherwise."""
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    # `bucket.localhost` is loopback too, for glibc; the fake S3 knows paths only.
    port = proxy.environ()["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://localhost:{port}")
    fault, *_ = faults(check(s3, tmp_path / "spool"))
    assert "with `s3 = addressing_style = path` in boto3's config file it works" in fault


def test_what_a_head_does_not_say_is_noted(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """A store without ETags, dates and lengths will do, and the check says so."""
    proxy.behave(Manners(headers=without("etag", "last-modified", "content-length")))
    results = check(s3, tmp_path)
    assert faults(results) == []
    notes = {result.what: result.note for result in results}
    assert notes["head"] == "its answer has no Content-Length, no ETag, no Last-Modified"


def test_a_missing_object_that_is_denied(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """Without s3:ListBucket a missing object is a 403, and the right is named."""
    seen: list[str] = []

    def refuse(passing: Passing) -> Refusal | None:
        seen.extend([passing.path] if passing.method == "PUT" else [])
        known = passing.method != "HEAD" or passing.path in seen
        return None if known else Refusal(403, "AccessDenied")

    proxy.behave(Manners(refuse=refuse))
    results = check(s3, tmp_path)
    assert faults(results) == []
    notes = {result.what: result.note for result in results}
    assert "s3:ListBucket" in str(notes["head of what is not there"])


def test_a_page_in_place_of_an_answer(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """A captive portal that answers 200 and HTML to everything is no store."""
    proxy.behave(Manners(refuse=lambda _: Refusal(200)))
    fault, *_ = faults(check(s3, tmp_path))
    assert "in the store's place" in fault
