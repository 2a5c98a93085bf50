"""A gRPC client that leaves most of the machine to the engine beside it: bytes in, bytes out, plaintext."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from typing import cast

from hpack import Encoder

from broadaxe.grpc_api.lean.hpack import Decoder, Field

_HEAD = struct.Struct(">HBBBI").unpack_from
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = 2**30
_LARGEST_FRAME = 16_384
_MOST_TRAILERS = 64
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7


class CallError(Exception):
    """The call ended with another status than OK."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class _Call:
    """What has come of one call."""

    __slots__ = ("_buffer", "ended", "messages")

    def __init__(self) -> None:
        self._buffer = b""
        self.messages: asyncio.Queue[bytes | None] | list[bytes] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed(self, data: bytes) -> None:
        """The payload of a DATA frame."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while len(buffer) - at >= 5:
            stop = at + 5 + int.from_bytes(buffer[at + 1 : at + 5], "big")
            if stop > len(buffer):
                break
            message = buffer[at + 5 : stop]
            if isinstance(self.messages, list):
                self.messages.append(message)
            else:
                self.messages.put_nowait(message)
            at = stop
        self._buffer = buffer[at:]

    def end(self, error: Exception | None) -> None:
        """No more comes."""
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
                self.ended.exception()  # whoever waits is told; a stream that was left needs no log line
        if isinstance(self.messages, asyncio.Queue):
            self.messages.put_nowait(None)


class Channel(asyncio.Protocol):
    """One connection. `fields` go with every call."""

    def __init__(self, authority: str, fields: Sequence[Field]) -> None:
        self._common = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", "60S"),
            *fields,
        ]
        self._buffer = b""
        self._stream = -1
        self._calls: dict[int, _Call] = {}
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._heads: dict[str, bytes] = {}
        self._trailers: dict[bytes, dict[str, str]] = {}
        self._received = 0
        self._out: list[bytes] = []

    @classmethod
    async def connect(cls, address: str, fields: Sequence[Field]) -> "Channel":
        """A new connection to `host:port`."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(lambda: cls(address, fields), host.strip("[]"), int(port))
        return channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open wide windows."""
        self._transport = cast(asyncio.Transport, transport)
        window = _frame(SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW))
        self._transport.write(_PREFACE + window + _frame(8, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Every call has failed."""
        for call in self._calls.values():
            call.end(ConnectionError("the connection is gone"))
        self._calls.clear()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    async def unary(self, path: str, request: bytes) -> bytes:
        """The only message of the answer; raises `CallError`."""
        _, call = self._begin(path, request)
        await call.ended
        return cast("list[bytes]", call.messages)[0]

    async def stream(self, path: str, request: bytes) -> AsyncIterator[bytes]:
        """The messages of the answer; the call is cancelled when the iterator is closed."""
        number, call = self._begin(path, request)
        call.messages = queue = asyncio.Queue()
        try:
            while (message := await queue.get()) is not None:
                yield message
            await call.ended
        finally:
            if self._calls.pop(number, None) is not None:
                self._transport.write(_frame(RST_STREAM, 0, number, (8).to_bytes(4, "big")))

    def _begin(self, path: str, request: bytes) -> tuple[int, _Call]:
        self._stream += 2
        number = self._stream
        message = b"\x00" + len(request).to_bytes(4, "big") + request
        self._send(_frame(HEADERS, 4, number, self._head(path)))
        while len(message) > _LARGEST_FRAME:
            self._send(_frame(DATA, 0, number, message[:_LARGEST_FRAME]))
            message = message[_LARGEST_FRAME:]
        self._send(_frame(DATA, 1, number, message))
        call = self._calls[number] = _Call()
        return number, call

    def _head(self, path: str) -> bytes:
        """The header block; kept once it only refers to the table, until that changes."""
        known = self._heads.get(path)
        if known is None:
            table = self._encoder.header_table.dynamic_entries
            before = len(table)
            known = self._encoder.encode([*self._common[:2], (":path", path), *self._common[2:]])
            if len(table) == before:
                self._heads[path] = known
            else:
                self._heads.clear()
        return known

    def _send(self, frame: bytes) -> None:
        """What is sent in one turn of the loop goes out together."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        """Obey every whole frame."""
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        while end - at >= 9:
            high, low, kind, flags, stream = _HEAD(buffer, at)
            stop = at + 9 + (high << 8 | low)
            if stop > end:
                break
            self._obey(kind, flags, stream, buffer[at + 9 : stop])
            at = stop
        self._buffer = buffer[at:]
        if self._received > _WINDOW // 4:
            self._send(_frame(8, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    def _obey(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._received += len(payload)
            if (call := self._calls.get(stream)) is not None:
                call.feed(payload)
        elif kind == HEADERS:
            fields = self._fields(payload)
            if flags & 1 and (call := self._calls.pop(stream, None)) is not None:
                status = fields.get("grpc-status", "2")
                call.end(None if status == "0" else CallError(status, fields.get("grpc-message", "")))
        elif kind == RST_STREAM:
            if (call := self._calls.pop(stream, None)) is not None:
                call.end(CallError("13", "the stream was reset"))
        elif kind in (SETTINGS, PING) and not flags & 1:
            self._send(_frame(kind, 1, 0, payload if kind == PING else b""))

    def _fields(self, block: bytes) -> dict[str, str]:
        known = self._trailers.get(block)
        if known is None:
            before = self._decoder.changes
            known = dict(self._decoder.decode(block))
            if self._decoder.changes != before or len(self._trailers) >= _MOST_TRAILERS:
                self._trailers.clear()  # a block means what the table says
            if self._decoder.changes == before:
                self._trailers[block] = known
        return known
