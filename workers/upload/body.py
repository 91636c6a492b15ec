"""An object's body as it is sent: bytes in memory, or a stream that is made again for each send.

Knows no compression and no S3.
"""

import base64
import io
from collections.abc import Callable, Iterable, Iterator

from isal.isal_zlib import crc32

from workers.errors import BucketBrigadeError


class BodyChanged(BucketBrigadeError):
    """A body that is made again for a send is not the one that was measured."""


class ObjectBody:
    """What a PUT sends: its `length` in bytes, its `crc32`, and the bytes, any number of times.

    `chunks` returns the same bytes at each call; it may block on the disk. After a send that ended
    early, `failure` holds the exception that making the bytes raised, if that was the cause: an
    HTTP client wraps it in an error of its own.
    """

    __slots__ = ("_chunks", "_data", "crc32", "failure", "length")

    def __init__(
        self,
        data: bytes | None,
        *,
        chunks: Callable[[], Iterable[bytes]],
        length: int,
        crc32: int,
    ) -> None:
        self._data = data
        self._chunks = chunks
        self.length = length
        self.crc32 = crc32
        self.failure: Exception | None = None

    @classmethod
    def of(cls, data: bytes) -> "ObjectBody":
        """Make a body of bytes that are in memory."""
        return cls(data, chunks=lambda: (data,), length=len(data), crc32=crc32(data))

    @property
    def checksum(self) -> str:
        """The CRC-32 of the bytes in the form of S3's `ChecksumCRC32`: big-endian, base64.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
        """
        return base64.b64encode(self.crc32.to_bytes(4, "big")).decode()

    def open(self) -> "bytes | BodyStream":
        """Return what boto3 takes as `Body`: the bytes, or a stream that stands at its start."""
        return BodyStream(self) if self._data is None else self._data

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes from the start. May block on the disk.

        Raises:
            BodyChanged: they are not the bytes that were measured. Raised before the last chunk is
                yielded, so that no other body is ever sent whole.
        """
        length = crc = 0
        last = b""
        for chunk in filter(None, self._chunks()):
            if last:
                yield last
            last = chunk
            length, crc = length + len(chunk), crc32(chunk, crc)
        if (length, crc) != (self.length, self.crc32):
            raise BodyChanged(f"{self.length} bytes were measured, {length} were read again")
        yield last


class BodyStream(io.RawIOBase):
    """A body as a binary file, read once for each `seek(0)`: botocore rewinds it to sign it.

    Between the start and the end it cannot seek. `read` may block on the disk.
    """

    def __init__(self, body: ObjectBody) -> None:
        super().__init__()
        self._body = body
        self._chunks: Iterator[bytes] = body.chunks()
        self._rest = memoryview(b"")
        self._position = 0

    def __len__(self) -> int:
        return self._body.length

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the start or to the end; anywhere else only if the stream stands there.

        Raises:
            io.UnsupportedOperation: to any other position.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self)}[whence]
        target = base + offset
        if target not in (0, self._position, len(self)):
            raise io.UnsupportedOperation(f"seek to {target}")
        if target != self._position:
            self._chunks = iter(()) if target else self._body.chunks()
            self._rest = memoryview(b"")
            self._position = target
        return target

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, fewer at the end; all that is left if it is negative or None."""
        wanted = len(self) if size is None or size < 0 else size
        parts: list[memoryview] = []
        while wanted > 0 and (self._rest or self._advance()):
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        data = b"".join(parts)
        self._position += len(data)
        return data

    def _advance(self) -> bool:
        """Take the next chunk. False at the end."""
        try:
            chunk = next(self._chunks, b"")
        except Exception as error:
            self._body.failure = error
            raise
        self._rest = memoryview(chunk)
        return bool(chunk)
