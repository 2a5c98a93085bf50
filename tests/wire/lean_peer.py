"""The lean transport without a socket: bytes in, bytes out, and `h2` on the other side as judge."""

import asyncio
from collections.abc import Iterable
from typing import Any

import h2.config
import h2.connection
import h2.events
from toy_server import BEARER, Seen, ToyAuthenticator, ToyServicer

from broadaxe.clock import SystemClock
from broadaxe.grpc_api.lean.calls import Calls
from broadaxe.grpc_api.lean.connection import Connection
from broadaxe.grpc_api.lean.inbound import prefixed
from broadaxe.grpc_api.lean.link import Shared
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.lean.usage import Usage
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.rate_limit import RateLimiter

HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "test"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    *BEARER,
]


class Pipe(asyncio.Transport):
    """A transport that keeps what is written. It is full when told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.reading_paused = False
        self.on_close: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.on_close, None)

    abort = close

    write_eof = close
    """The peer closes as soon as it hears that nothing more comes."""


class Side:
    """A server with one connection, fed by hand."""

    def __init__(self, settings: LeanSettings | None = None, usage: Usage | None = None) -> None:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        self.servicer, self.seen, self.usage = ToyServicer(), Seen(), usage or Usage()
        self.pipeline = Pipeline(ToyAuthenticator(), RateLimiter(clock, 0), self.seen, clock)
        self.calls = Calls(self.servicer.methods(), self.pipeline, loop, clock.monotonic)
        self.settings = settings or LeanSettings()
        self.shared = Shared(loop, self.settings, self.calls, self.usage)
        self.connection = Connection(self.shared)
        self.pipe = Pipe()
        self.pipe.on_close = self.connection.connection_lost
        self.connection.connection_made(self.pipe)

    async def feed(self, *chunks: bytes) -> None:
        """Let these bytes arrive, each by itself."""
        loop = asyncio.get_running_loop()
        for chunk in chunks:
            loop.call_soon(self._receive, chunk)
        await settle()

    def _receive(self, chunk: bytes) -> None:
        if not self.pipe.closed:
            self.connection.data_received(chunk)

    def take(self) -> bytes:
        """What the server has written since the last time."""
        written = bytes(self.pipe.written)
        self.pipe.written.clear()
        return written

    async def hang_up(self) -> None:
        """Close, and see that nothing is left."""
        self.servicer.release.set()
        self.pipe.close()
        await settle()
        for _ in range(50):
            if not self.calls.running:
                break
            await settle()
        assert not self.calls.running
        assert (self.usage.connections, self.usage.streams, self.usage.buffered) == (0, 0, 0)


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(30):
        await asyncio.sleep(0)


class Judge:
    """A client whose h2 raises when the server breaks the protocol."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.h2.initiate_connection()
        self.headers: dict[int, dict[str, str]] = {}
        self.heads: dict[int, list[dict[str, str]]] = {}
        self.data: dict[int, bytes] = {}
        self.resets: dict[int, int] = {}
        self.goodbye: list[h2.events.ConnectionTerminated] = []
        self.acknowledge = True
        self._asked = False

    async def change(self, values: dict[int, int]) -> None:
        """Announce other settings once the server has acknowledged those before.

        h2 takes an acknowledgement for one of the newest value of every setting.
        """
        if self._asked:
            await self.go()
        self.h2.update_settings(values)
        self._asked = True

    async def go(self) -> None:
        """Exchange everything there is in both directions."""
        while True:
            await self.side.feed(*filter(None, [self.h2.data_to_send()]))
            received = self.side.take()
            if not received:
                return
            self.receive(received)

    def receive(self, data: bytes) -> None:
        """Judge what the server wrote, frame by frame.

        Within one call h2 does not follow a setting of its own that the server has acknowledged.
        """
        while data:
            end = 9 + int.from_bytes(data[:3], "big")
            self._frame(data[:end])
            data = data[end:]

    def _frame(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    fields = dict(event.headers or ())
                    self.headers.setdefault(event.stream_id, {}).update(fields)
                    self.heads.setdefault(event.stream_id, []).append(fields)
                case h2.events.DataReceived():
                    self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                    if self.acknowledge and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamReset():
                    self.resets[event.stream_id] = int(event.error_code)
                case h2.events.SettingsAcknowledged():
                    self._asked = False
                case h2.events.ConnectionTerminated():
                    self.goodbye.append(event)

    def open(self, path: str, *extra: tuple[str, str]) -> int:
        """Send a head; the stream."""
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, request_head(path, extra))
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Send DATA in as many frames as are needed."""
        for start in range(0, len(data), 16_384):
            last = start + 16_384 >= len(data)
            self.h2.send_data(stream, data[start : start + 16_384], end_stream=end and last)

    def call(self, path: str, message: Any, *extra: tuple[str, str]) -> int:
        """A whole request."""
        stream = self.open(path, *extra)
        self.send(stream, prefixed(message.SerializeToString()))
        return stream

    def messages(self, stream: int) -> list[bytes]:
        """The messages that have arrived whole."""
        data, found = self.data.get(stream, b""), []
        while data:
            size = int.from_bytes(data[1:5], "big")
            if len(data) < 5 + size:
                break
            found.append(data[5 : 5 + size])
            data = data[5 + size :]
        return found

    def status(self, stream: int) -> str | None:
        """`grpc-status`, once it is there."""
        return self.headers.get(stream, {}).get("grpc-status")


def request_head(path: str, extra: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [*HEAD[:3], (":path", path), *HEAD[3:], *extra]
