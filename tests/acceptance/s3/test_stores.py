"""Stores and proxies that are not AWS: TLS, no chunks, headers that are changed or dropped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    settle,
)
from tests.support import wait_until
from tests.support.certificates import Certificate, make_certificate
from tests.support.flood import Flood, Plan
from tests.support.proxy import (
    Manners,
    Proxy,
    canonical,
    refuse_chunks,
    refuse_conditions,
    refuse_larger,
    without,
)
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service

PLAN = Plan(threads=2, requests=40, payloads=(1, 9))
SMALL = {"OBJECT_MAX_PAYLOADS": 20, "MAX_WORKERS": 4}


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Make a certificate for loopback."""
    return make_certificate(tmp_path)


@pytest.fixture
def tls(s3: FakeS3, certificate: Certificate) -> Iterator[Proxy]:
    """Speak TLS before the fake S3, and refuse what Ceph and rclone refuse."""
    with Proxy(s3.port, certificate=certificate, manners=Manners(refuse=refuse_chunks)) as proxy:
        yield proxy


@pytest.fixture
def proxy(s3: FakeS3) -> Iterator[Proxy]:
    """Stand before the fake S3."""
    with Proxy(s3.port) as proxy:
        yield proxy


def put_failed(service: Service) -> dict[str, Any]:
    """Wait for the log's first line of a PUT that failed."""
    found: list[dict[str, Any]] = []

    def logged() -> bool:
        found[:] = [event for event in service.logs().events if event["event"] == "put failed"]
        return bool(found)

    wait_until(logged, timeout=20, what="a PUT that fails")
    return found[0]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_over_tls_bodies_are_plain(
    service_factory: ServiceFactory, s3: FakeS3, tls: Proxy, compression: str
) -> None:
    """A store over TLS gets no chunks and no trailer: body, encoding and checksum as over HTTP."""
    service = service_factory.start(COMPRESSION=compression, **SMALL, **tls.environ())
    flood = Flood(service.port, PLAN).run()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    for stored in s3.objects().values():
        assert stored.content_encoding == ("" if compression == "none" else compression)
        assert stored.checksums.keys() == {"x-amz-checksum-crc32"}
        assert "x-amz-trailer" not in stored.put_headers
        assert len(stored.body) == int(stored.metadata["stored-size"])


def test_a_checksum_is_left_out_where_the_store_cannot_have_it(
    service_factory: ServiceFactory, s3: FakeS3, tls: Proxy
) -> None:
    """AWS_REQUEST_CHECKSUM_CALCULATION=when_required: a plain PUT without any."""
    service = service_factory.start(
        AWS_REQUEST_CHECKSUM_CALCULATION="when_required", **SMALL, **tls.environ()
    )
    assert_promise_kept(service, s3, Flood(service.port, PLAN).run())
    assert all(not stored.checksums for stored in s3.objects().values())


def test_a_certificate_that_is_not_trusted(
    service_factory: ServiceFactory, s3: FakeS3, tls: Proxy
) -> None:
    """Nothing is sent to it; the log names AWS_CA_BUNDLE, and all is kept."""
    environ = tls.environ()
    del environ["AWS_CA_BUNDLE"]
    service = service_factory.start(**environ)
    assert service.post("/payloads", [{}]).status == 202
    assert "AWS_CA_BUNDLE" in put_failed(service)["error"]
    assert s3.objects() == {}


@pytest.mark.parametrize(
    "headers",
    [canonical, without("etag", "last-modified"), without("content-l"), without("x-amz-meta-")],
    ids=["go", "no-etag", "no-length", "no-metadata"],
)
def test_headers_that_a_proxy_changes(
    service_factory: ServiceFactory, s3: FakeS3, proxy: Proxy, headers: object
) -> None:
    """Behind a proxy that changes headers lost answers are found out, and receipts `stored`."""
    proxy.behave(Manners(headers=headers))  # type: ignore[arg-type]
    s3.faults(Fault(kind="lose_answer", probability=0.5))
    service = service_factory.start(**SMALL, **proxy.environ())
    flood = Flood(service.port, PLAN).run()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    for outcome in flood.outcomes[:5]:
        status = service.get(f"/receipts/{outcome.receipts[0].id}").json()
        assert status["state"] == "stored"


def test_a_store_without_conditions(
    service_factory: ServiceFactory, s3: FakeS3, proxy: Proxy
) -> None:
    """Its 501 names the setting that helps; with that all goes up, half bodies included."""
    proxy.behave(Manners(refuse=refuse_conditions))
    service = service_factory.start(DRAIN_SECONDS=1, **proxy.environ())
    assert service.post("/payloads", [{}]).status == 202
    event = put_failed(service)
    assert (event["reason"], "S3_CONDITIONAL_PUT=off" in event["error"]) == ("other", True)
    service.terminate()
    service.wait(30)
    s3.faults(Fault(kind="half", probability=0.5))
    other = service_factory.start(
        S3_CONDITIONAL_PUT="off", SPOOL_DIR=service.spool_dir, **SMALL, **proxy.environ()
    )
    flood = Flood(other.port, PLAN).run()
    s3.clear()
    stats = settle(other)
    assert (stats["dead"], stats["stored"]) == (0, len(flood.acked) + 1)


def test_a_proxy_that_takes_no_large_bodies(
    service_factory: ServiceFactory, s3: FakeS3, proxy: Proxy
) -> None:
    """A proxy's 413 condemns nothing: once its limit is raised all goes up."""
    proxy.behave(Manners(refuse=refuse_larger(10)))
    service = service_factory.start(**SMALL, **proxy.environ())
    flood = Flood(service.port, PLAN).run()
    event = put_failed(service)
    assert "raise its limit" in event["error"]
    proxy.behave(Manners())
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
