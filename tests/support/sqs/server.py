"""moto's SQS behind a front of its own, which can refuse calls, and lose requests or answers.

moto does not hold messages to a size: their attributes are not counted.
"""

import contextlib
import http.client
import http.server
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Literal, Self

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.sqs.models import sqs_backends

from tests.support.s3 import LOOPBACK

REGION, NAME = "eu-west-1", "jobs"
# hang: read all, then nothing, until `release`. refuse-last, lose-last: of a batch all but the last
# is passed on, and that one is said to be at fault, or not to have come through.
Manner = Literal[
    "pass", "deny", "throttle", "lose-answer", "hang-up", "hang", "refuse-last", "lose-last"
]
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
REFUSALS = {
    "deny": (403, "AccessDeniedException"),
    "throttle": (400, "RequestThrottled"),
}
KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}


class SqsServer:
    """One queue. `manner` says what becomes of each call, by its name; `calls` counts them."""

    def __init__(self) -> None:
        self.manner: Callable[[str], Manner] = lambda _: "pass"
        self.calls: list[str] = []
        self._released = threading.Event()
        self.url = f"sqs://{REGION}/{DEFAULT_ACCOUNT_ID}/{NAME}"
        self._moto = ThreadedMotoServer(LOOPBACK, 0, verbose=False)
        self._front = _Front((LOOPBACK, 0), _Handler)
        self._front.owner = self
        self.endpoint = f"http://{LOOPBACK}:{self._front.server_address[1]}"
        self._thread = threading.Thread(target=self._front.serve_forever)

    def __enter__(self) -> Self:
        # moto's server would write a line for each call.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._moto.start()
        self._thread.start()
        self.client().create_queue(QueueName=NAME)
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self.client().delete_queue(QueueUrl=self.queue_url)
        self._front.shutdown()
        self._front.server_close()
        self._thread.join()
        self._moto.stop()

    def release(self) -> None:
        """Work from now on, and close the connections of all calls that hang."""
        self.manner = lambda _: "pass"
        self._released.set()
        self._released = threading.Event()

    def await_release(self) -> None:
        """Block until `release`, or the end."""
        self._released.wait()

    @property
    def queue_url(self) -> str:
        """The queue as AWS names it."""
        return f"{self.endpoint}/{DEFAULT_ACCOUNT_ID}/{NAME}"

    def environ(self) -> dict[str, str]:
        """Return what a service needs to use it; the keys are those of any S3, too."""
        return {"QUEUE_URL": self.url, "AWS_ENDPOINT_URL_SQS": self.endpoint}

    def client(self) -> Any:
        """Return a client of the server, past the front."""
        return boto3.client("sqs", region_name=REGION, endpoint_url=self._behind, **KEYS)

    def left(self) -> int:
        """Return how many messages are in the queue, hidden ones too."""
        return len(self._messages())

    def expire(self) -> None:
        """Let every message be visible, as if nothing had renewed it in time."""
        for message in self._messages():
            message.change_visibility(0)

    def _messages(self) -> list[Any]:
        queue = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[NAME]
        return list(queue._messages)

    @property
    def _behind(self) -> str:
        return "http://{}:{}".format(*self._moto.get_host_and_port())

    def behind(self) -> tuple[str, int]:
        """Return where moto is."""
        host, port = self._moto.get_host_and_port()
        return host, int(port)


class _Front(http.server.ThreadingHTTPServer):
    owner: SqsServer
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Front
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Pass a call on, or not."""
        owner = self.server.owner
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        owner.calls.append(call)
        manner = owner.manner(call)
        self.close_connection = True
        if manner == "hang":
            owner.await_release()
        elif manner in REFUSALS:
            status, code = REFUSALS[manner]
            name = f"com.amazonaws.sqs#{code}"
            self._answer(status, json.dumps({"__type": name, "message": f"{code}: no"}).encode())
        elif manner in ("refuse-last", "lose-last"):
            self._answer(200, self._without_last(body, is_fault=manner == "refuse-last"))
        elif manner != "hang-up":
            status, content = self._pass_on(body)
            if manner == "pass":
                self._answer(status, content)

    def _pass_on(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.server.owner.behind(), timeout=10)
        with contextlib.closing(connection):
            names = ("X-Amz-Target", "Content-Type", "Authorization", "X-Amz-Date")
            headers = {name: self.headers[name] for name in names}
            connection.request("POST", self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _without_last(self, body: bytes, *, is_fault: bool) -> bytes:
        asked = json.loads(body)
        last = asked["Entries"].pop()
        code = "InvalidMessageContents" if is_fault else "InternalError"
        failed = [{"Id": last["Id"], "SenderFault": is_fault, "Code": code}]
        found = json.loads(self._pass_on(json.dumps(asked).encode())[1]) if asked["Entries"] else {}
        return json.dumps({"Successful": [], **found, "Failed": failed}).encode()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        with contextlib.suppress(OSError):
            self.end_headers()
        # The client may have been killed.
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
