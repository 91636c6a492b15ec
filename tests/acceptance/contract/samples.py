"""Collections to send, and the lines that an answer's receipts point to."""

from tests.acceptance.service import settle
from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service

MAX_BODY = 1 << 20
PAYLOADS = [b'{"n":1,"s":"a\\u00fc/\xc3\xbc"}', b'{"n":2}', b"{}"]
ARRAY = b"[" + b",".join(PAYLOADS) + b"]"
NDJSON = {"Content-Type": "application/x-ndjson"}


def stored(service: Service, bucket: FakeS3, answer: Answer) -> list[bytes]:
    """Wait until all is stored; return the lines that an answer's receipts point to."""
    settle(service)
    lines = {(f"s3://{bucket.bucket}/{key}", n): line for key, n, line in bucket.lines()}
    return [
        lines[receipt["object"], receipt["first_line"] + offset]
        for receipt in answer.json()["receipts"]
        for offset in range(receipt["count"])
    ]
