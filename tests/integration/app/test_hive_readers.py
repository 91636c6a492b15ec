"""DuckDB and pyarrow read partitions out of moto as docs/objects.md shows; values decode."""

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app.application import Service
from tests.support import ROOT
from tests.support.bench import settings_for
from tests.support.s3.others import run_moto
from tests.support.tools import PROGRAMS, needed
from workers.upload.s3 import Bucket

READER = next(PROGRAMS.parent.glob("lib/*/site-packages/duckdb"), None)
TEXT = (ROOT / "docs/objects.md").read_text()
TEMPLATE = "{stream}/country={payload.geo.country}/day={event_date}/{segment}.ndjson.gz"
# The extension comes with a package here, and the secret is moto's.
DUCKDB = """
import glob, json, os, sys, duckdb, duckdb_extension_httpfs
here = os.path.dirname(duckdb_extension_httpfs.__file__)
duckdb.sql(f"LOAD '{glob.glob(here + '/**/*.duckdb_extension', recursive=True)[0]}'")
endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
duckdb.sql(f"CREATE SECRET (TYPE s3, KEY_ID 'x', SECRET 'x', REGION 'us-east-1', "
           f"ENDPOINT '{endpoint}', USE_SSL false, URL_STYLE 'path')")
print(json.dumps(duckdb.sql(sys.stdin.read()).fetchall()))
"""
COUNTRIES = ["DE", "é / ü", "a=b%2F+c", "..", "~", "😀?#&", '"\\', "__HIVE_DEFAULT", None, "07"]
PAYLOADS: list[dict[str, Any]] = [
    {"n": n, "geo": {"country": COUNTRIES[n % 10]}, "at": f"2026-11-0{n % 3 + 1}T01:30:00+02:00"}
    for n in range(60)
]
# What is of 1 November (UTC) or later.
EXPECTED = Counter(each["geo"]["country"] for each in PAYLOADS if each["n"] % 3)


def example(language: str) -> str:
    """Return the documents' example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def read(code: str, moto: str, *, given: str = "") -> Any:
    """Run code in the Python that has the readers; return what it prints."""
    needed(READER, "DuckDB")
    environ = {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
               "AWS_REGION": "us-east-1", "PATH": os.environ["PATH"]}  # fmt: skip
    done = subprocess.run(
        [PROGRAMS / "python", "-c", code],
        env=environ,
        input=given,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[str]:
    """Run moto with what the service stored of the payloads in one collection."""
    chosen = {"S3_BUCKET": "events", "KEY_TEMPLATE": TEMPLATE, "EVENT_TIME": "/at"}
    with run_moto("events") as running:
        bucket = Bucket.connect(settings_for(tmp_path, **chosen))
        service = Service(tmp_path / "spool", bucket=bucket, **chosen)
        try:
            assert service.post(PAYLOADS, "/payloads/orders").status_code == 202
            service.until(stored=len(PAYLOADS))
            yield running.endpoint
        finally:
            service.pipeline.stop()
            bucket.close()


def test_readers_see_partitions(moto: str) -> None:
    """Their columns appear, counts match, and values are what clients sent."""
    assert TEMPLATE in TEXT
    assert dict(json.loads(read(DUCKDB, moto, given=example("sql")))) == EXPECTED
    moto_s = f"S3FileSystem(scheme='http', endpoint_override='{moto.removeprefix('http://')}')"
    printed = eval(read(example("python").replace("S3FileSystem()", moto_s), moto))
    assert {row["country"]: row["count_all"] for row in printed} == EXPECTED
