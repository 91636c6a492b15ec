"""The calls on one SQS queue, and what their failures mean.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from workers.errors import QueueError, QueueUnavailable, QueueUnconfirmed, StoreUnavailable
from workers.settings.queue import read_sqs_url
from workers.settings.settings import Settings
from workers.sqs.message import LINES, Message
from workers.upload.s3_client import Connection, connect
from workers.upload.s3_errors import code_of, had_no_effect, meaning

# Of `REQUEST_SECONDS`: two attempts, and what waited for those before, end in time.
ATTEMPT_SHARE, MIN_ATTEMPT_SECONDS = 0.25, 3.0
# A receive waits for a message; renewals and a stop wait for it, too.
RECEIVE_SECONDS = 1
# The most that AWS takes at once, in one message as in a batch.
MAX_RECEIVED = 10
_GONE = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})


class Received(NamedTuple):
    """A message, and the handle that this receive of it has."""

    handle: str
    body: str
    lines: bytes


class SqsQueue:
    """One queue, for all threads. Every method blocks on the network.

    Each raises `QueueUnavailable` where nothing was done, `QueueUnconfirmed` where that is unknown.
    """

    def __init__(self, connection: Connection, *, account: str, name: str) -> None:
        self._connection = connection
        self._path = f"{account}/{name}"

    def send(self, messages: Sequence[Message]) -> list[QueueError | None]:
        """Send up to ten messages; return what became of each, None where it is confirmed."""
        entries = [
            {
                "Id": str(number),
                "MessageBody": message.body,
                "MessageAttributes": {LINES: {"DataType": "Binary", "BinaryValue": message.lines}},
            }
            for number, message in enumerate(messages)
        ]
        answer = self._call("send_message_batch", Entries=entries)
        found: dict[str, QueueError | None] = {
            str(each["Id"]): None for each in answer.get("Successful", [])
        }
        for each in answer.get("Failed", []):
            text = f"SQS: {each.get('Code')}: {each.get('Message', '')}"
            kind = QueueUnavailable if each.get("SenderFault") else QueueUnconfirmed
            found[str(each["Id"])] = kind(text)
        unknown = QueueUnconfirmed("SQS has not answered for it")
        return [found.get(str(number), unknown) for number in range(len(messages))]

    def receive(self, *, most: int, visibility_seconds: int) -> list[Received]:
        """Take messages, for a second at most; no other receive has them meanwhile."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=min(most, MAX_RECEIVED),
            VisibilityTimeout=visibility_seconds,
            WaitTimeSeconds=RECEIVE_SECONDS,
            MessageAttributeNames=[LINES],
        )
        return [
            Received(
                each["ReceiptHandle"],
                each.get("Body", ""),
                each.get("MessageAttributes", {}).get(LINES, {}).get("BinaryValue", b""),
            )
            for each in answer.get("Messages", [])
        ]

    def hide(self, handle: str, *, seconds: int) -> bool:
        """Let no receive have a message for some seconds from now; False where it is not ours."""
        return self._call_held("change_message_visibility", handle, VisibilityTimeout=seconds)

    def delete(self, handle: str) -> bool:
        """Delete a message; False where the handle is not valid any more."""
        return self._call_held("delete_message", handle)

    def attributes(self) -> dict[str, str]:
        """Return the queue's attributes, as AWS names them."""
        found = self._call("get_queue_attributes", AttributeNames=["All"])
        return dict(found.get("Attributes", {}))

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def _call_held(self, method: str, handle: str, **arguments: Any) -> bool:
        try:
            self._call(method, ReceiptHandle=handle, **arguments)
        except QueueUnavailable as error:
            if code_of(error.__cause__) in _GONE:
                return False
            raise
        return True

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            client = self._connection.client()
            url = f"{client.meta.endpoint_url.rstrip('/')}/{self._path}"
            return getattr(client, method)(QueueUrl=url, **arguments)
        except Exception as error:
            found = meaning(error)
            if isinstance(found, StoreUnavailable) and found.reason == "denied":
                self._connection.denied()
            if not had_no_effect(error):
                raise QueueUnconfirmed(f"SQS: {found}") from error
            raise QueueUnavailable(f"SQS: {found}") from error


def connect_queue(settings: Settings) -> SqsQueue:
    """Return the queue that `QUEUE_URL` names. Does not touch the network."""
    assert settings.queue_url is not None
    url = read_sqs_url(settings.queue_url)
    connection = connect(
        settings,
        service="sqs",
        region=url.region,
        read_timeout=max(MIN_ATTEMPT_SECONDS, ATTEMPT_SHARE * settings.request_seconds),
        options={},
    )
    return SqsQueue(connection, account=url.account, name=url.name)
