"""The server: one event loop, one port for S3 and one to control it by."""

import asyncio
import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from tests.support.s3.bodies import unwrap
from tests.support.s3.faults import Counts, Fault, Faults
from tests.support.s3.messages import Answer, Request, S3Error, error_answer
from tests.support.s3.objects import pack
from tests.support.s3.store import Bucket, Store

LOOPBACK = "127.0.0.1"


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off with a RST, as a crashed peer or a middlebox does."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body of `Transfer-Encoding: chunked` (RFC 9112, section 7.1); its trailer is dropped.

    Raises:
        asyncio.IncompleteReadError: the client left before the end.
    """
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(chunks)


# What a captive portal answers to everything.
PAGE = b"<html><body>Please log in.</body></html>"


class Server:
    """One S3 on one port, and beside it a port to control it by, which works while S3 is down."""

    def __init__(self, *, port: int, store: Store, faults: Faults, body_seconds: float) -> None:
        self._body_seconds = body_seconds
        self._store = store
        self._faults = faults
        # Bound but never listening: while we are down the port stays ours and refuses connections.
        self._holder = self._bind(port)
        self.port: int = self._holder.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._requests: Counter[str] = Counter()
        self._half_bodies = 0

    @staticmethod
    def _bind(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((LOOPBACK, port))
        return sock

    async def listen(self) -> None:
        """Accept connections; twice is the same as once."""
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, sock=self._bind(self.port), limit=1 << 20, backlog=1024
            )

    def go_down(self) -> None:
        """Refuse new connections and break the open ones off. Objects stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._open:
            reset(writer)

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request on the control port."""
        request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(request.headers.get("content-length", 0)))
        answer = await self._command(request.key, request.query, body)
        writer.write(Answer(200, {}, answer).encode(request.method))
        await writer.drain()
        writer.close()

    async def _command(self, name: str, query: Mapping[str, str], body: bytes) -> bytes:
        match name:
            case "down":
                self.go_down()
            case "up":
                await self.listen()
            case "faults":
                self._faults.replace([Fault(**rule) for rule in json.loads(body)])
            case "renew":
                await self._renew(query["name"])
            case "bucket":
                self._store.buckets.setdefault(query["name"], Bucket())
            case "objects":
                return pack(self._store.buckets[query["bucket"]].objects)
            case "keys":
                return json.dumps(list(self._store.buckets[query["bucket"]].objects)).encode()
            case "counts":
                return json.dumps(asdict(self._counts())).encode()
        return b""

    async def _renew(self, bucket: str) -> None:
        """Become a new server with one empty bucket; what is late gets into the old one's."""
        self._faults.replace([])
        for writer in self._open:
            reset(writer)
        self._faults = Faults(self._faults.seed)
        self._store = Store([bucket])
        self._requests.clear()
        self._half_bodies = 0
        await self.listen()

    def _counts(self) -> Counts:
        return Counts(
            requests=dict(self._requests),
            faults=dict(self._faults.hits),
            stored=self._store.stored,
            half_bodies_refused=self._half_bodies,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Accepted just before we went down: too late.
        if self._listener is None:
            reset(writer)
            return
        self._open.add(writer)
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
        try:
            with contextlib.suppress(*gone):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection lives on."""
        request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        self._requests[request.method] += 1
        fault, store = self._faults.strike(request), self._store
        # Of the rules that struck, though they be replaced before the body is here.
        replaced = self._faults.replaced
        if fault and fault.kind == "reset":
            await self._read_half(request, reader, writer)
            reset(writer)
            return False
        try:
            request, body = unwrap(request, await self._read_body(request, reader, writer))
            answer = await self._act(
                fault, request, body, reader=reader, replaced=replaced, store=store
            )
        except S3Error as error:
            self._half_bodies += error.code in {"IncompleteBody", "RequestTimeout"}
            answer = error_answer(request, error)
        lost = fault is not None and fault.kind in {"lose_answer", "half"}
        if lost:
            reset(writer)
        if lost or answer is None:
            return False
        writer.write(answer.encode(request.method))
        await writer.drain()
        # After these the rest of the body may still be on its way.
        broken = answer.status in {408, 411} or b"<Code>RequestTimeout" in answer.body
        return not broken and request.headers.get("connection", "").lower() != "close"

    async def _act(
        self,
        fault: Fault | None,
        request: Request,
        body: bytes,
        *,
        reader: asyncio.StreamReader,
        replaced: asyncio.Event,
        store: Store,
    ) -> Answer | None:
        """Do what was asked, or what the fault makes of it; None: close without an answer."""
        match fault:
            case Fault(kind="error"):
                raise S3Error(fault.status, fault.code)
            case Fault(kind="close_early"):
                return None
            case Fault(kind="half"):
                store.keep_part(request, body[: int(len(body) * fault.keep)])
                return None
            case Fault(kind="hang"):
                if not await self._hang(reader, replaced):
                    return None
            case Fault(kind="slow"):
                await self._pause(replaced, fault.seconds)
            case Fault(kind="late_answer"):
                answer = store.perform(request, body)
                await self._pause(replaced, fault.seconds)
                return answer
            case Fault(kind="portal"):
                return Answer(200, {"Content-Type": "text/html", "ETag": '"page"'}, PAGE)
        return store.perform(request, body)

    async def _pause(self, replaced: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(replaced.wait(), seconds)

    async def _hang(self, reader: asyncio.StreamReader, replaced: asyncio.Event) -> bool:
        """Wait until the rules are replaced (True) or the client has left (False)."""
        let_go = asyncio.create_task(replaced.wait())
        left = asyncio.create_task(reader.read(1))
        await asyncio.wait({let_go, left}, return_when=asyncio.FIRST_COMPLETED)
        free = not left.done()
        for task in (let_go, left):
            task.cancel()
        await asyncio.gather(let_go, left, return_exceptions=True)
        return free

    async def _read_half(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._continue(request, writer)
        await reader.readexactly(int(request.headers.get("content-length", 0)) // 2)

    def _continue(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _read_body(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Read the body, all of it: S3 stores nothing of a half one.

        Raises:
            S3Error: it has no length, or stopped coming.
            asyncio.IncompleteReadError: the client left before the end.
        """
        headers = request.headers
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        needed = "x-amz-decoded-content-length" if chunked else "content-length"
        if request.method == "PUT" and request.key and needed not in headers:
            raise S3Error(411, "MissingContentLength", "You must provide Content-Length.")
        self._continue(request, writer)
        try:
            async with asyncio.timeout(self._body_seconds):
                if chunked:
                    return await read_chunks(reader)
                return await reader.readexactly(int(headers.get("content-length", 0)))
        except TimeoutError as error:
            raise S3Error(400, "RequestTimeout", "Your body did not arrive in time.") from error
        except (asyncio.IncompleteReadError, ConnectionError):
            self._half_bodies += 1
            raise
