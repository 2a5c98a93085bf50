"""A client of HTTP/2 that does as little as possible: a load for servers of gRPC."""

import asyncio
import itertools
import ssl
import struct
from collections.abc import Sequence
from typing import cast

from hpack import Encoder

_HEAD = struct.Struct(">HBBBI").unpack_from
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = 2**30
_LARGEST_FRAME = 16_384
_CANCEL = (8).to_bytes(4, "big")
_timeouts = itertools.count(29_000_000)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Client(asyncio.Protocol):
    """One connection. Answers are counted, not read."""

    def __init__(self) -> None:
        self._buffer = b""
        self._stream = -1
        self._calls: dict[int, asyncio.Future[int]] = {}
        self._messages: dict[int, int] = {}
        self._encoder = Encoder()
        self._received = 0

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None) -> "Client":
        """A new connection to loopback."""
        loop = asyncio.get_running_loop()
        name = "localhost" if context is not None else None
        _, client = await loop.create_connection(cls, "127.0.0.1", port, ssl=context, server_hostname=name)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open wide windows."""
        self._transport = cast(asyncio.Transport, transport)
        window = _frame(4, 0, 0, struct.pack(">HI", 4, _WINDOW))
        self._transport.write(_PREFACE + window + _frame(8, 0, 0, (_WINDOW - 65535).to_bytes(4, "big")))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def call(self, path: str, fields: Sequence[tuple[str, str]], request: bytes) -> asyncio.Future[int]:
        """Make a call with a time-out that no other has had; how many DATA frames its answer had."""
        self._stream += 2
        stream = self._stream
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "127.0.0.1:7070"),
            ("content-type", "application/grpc"),
            ("user-agent", "bench"),
            ("te", "trailers"),
            *fields,
            ("grpc-timeout", f"{next(_timeouts)}u"),
        ]
        message = b"\x00" + len(request).to_bytes(4, "big") + request
        frames = [_frame(1, 4, stream, self._encoder.encode(head))]
        while len(message) > _LARGEST_FRAME:
            frames.append(_frame(0, 0, stream, message[:_LARGEST_FRAME]))
            message = message[_LARGEST_FRAME:]
        self._transport.write(b"".join(frames) + _frame(0, 1, stream, message))
        future = self._calls[stream] = asyncio.get_running_loop().create_future()
        self._messages[stream] = 0
        return future

    def cancel_last(self) -> None:
        """Cancel the call that was made last, whether its answer has come or not."""
        self._transport.write(_frame(3, 0, self._stream, _CANCEL))
        self._calls.pop(self._stream).cancel()
        del self._messages[self._stream]

    def data_received(self, data: bytes) -> None:
        """Count."""
        buffer = self._buffer + data
        at, end = 0, len(buffer)
        while end - at >= 9:
            high, low, kind, flags, stream = _HEAD(buffer, at)
            size = high << 8 | low
            if at + 9 + size > end:
                break
            at += 9 + size
            if kind == 0:
                if stream in self._messages:
                    self._messages[stream] += 1
                self._received += size
            elif kind == 1 and flags & 1 and stream in self._calls:
                self._end(stream, buffer[at - size : at])
            elif kind in (4, 6) and not flags & 1:
                self._transport.write(_frame(kind, 1, 0, buffer[at - size : at] if kind == 6 else b""))
            elif kind in (3, 7):
                raise RuntimeError(f"refused: {buffer[at - size : at]!r}")
        self._buffer = buffer[at:]
        if self._received > _WINDOW // 4:
            self._transport.write(_frame(8, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    def _end(self, stream: int, trailers: bytes) -> None:
        count = self._messages.pop(stream)
        future = self._calls.pop(stream)
        if not future.done():
            future.set_result(count)
