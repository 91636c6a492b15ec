"""A small S3 over real HTTP on loopback, with faults on demand: the far edge of every test.

`python -m tests.support.s3` is the server, a process of its own so that it outlives what is killed
around it; `FakeS3` is a test's handle on it. Knows the protocol of S3 and nothing of this project.

Why not moto behind a proxy: a PUT costs its server ten times the CPU (3.5 ms and 0.3 ms, measured
side by side), which on two cores would leave the service under test too little load. And what the
tests judge by needs the store itself: how often a PUT took effect on a key, a PUT that takes effect
after its client is gone, half an object, a body that is refused because it did not arrive whole.
moto serves `make run`, and one test reads through it what the service wrote
(tests/integration/pipeline/test_uploads.py::test_another_s3_reads_what_we_wrote).
"""

from tests.support.s3.fake import FakeS3
from tests.support.s3.faults import Counts, Fault, Kind
from tests.support.s3.objects import StoredObject, content
from tests.support.s3.server import LOOPBACK

__all__ = ["LOOPBACK", "Counts", "FakeS3", "Fault", "Kind", "StoredObject", "content"]
