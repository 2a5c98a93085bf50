"""Everything that a connection writes: frames of one tick together, DATA as the peer's windows allow."""

import asyncio
from typing import Protocol

from broadaxe.grpc_api.lean.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_TABLE_SIZE,
    DEFAULT_WINDOW,
    LARGEST_WINDOW,
    ConnectionFault,
    ErrorCode,
)
from broadaxe.grpc_api.lean.replies import OK_BLOCK, OK_START, RESPONSE_BLOCK, RESPONSE_START, after_update

_BURST = 256 * 1024
"""So much of waiting replies is handed to the transport before it is asked whether it can take more."""


class Source(Protocol):
    """A stream as the sender sees it."""

    number: bytes
    """The stream's number, four bytes."""
    window: int
    """What the peer lets us send on it."""
    rest: memoryview | None
    """The part of a message that has not been sent yet."""

    def advanced(self, count: int) -> None:
        """So many bytes of `rest` have been sent."""


class Sender:
    """The outgoing side of one connection."""

    __slots__ = (
        "_corked",
        "_loop",
        "_out",
        "_scheduled",
        "_table",
        "_transport",
        "_waiting",
        "closed",
        "header_limit",
        "initial_window",
        "max_frame",
        "paused",
        "sent_messages",
        "shrunk",
        "window",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport) -> None:
        self._loop = loop
        self._transport = transport
        self._out: list[bytes | memoryview] = []
        self._scheduled = self._corked = False
        self._waiting: dict[Source, None] = {}
        """Streams with something to send that wait for the connection, in turn."""
        self.window = self.initial_window = DEFAULT_WINDOW
        self.max_frame = DEFAULT_FRAME_SIZE
        self.header_limit: int | None = None
        self._table = DEFAULT_TABLE_SIZE
        self.shrunk = False
        """The peer has made HPACK's table smaller: the next header block has to begin by saying so."""
        self.closed = False
        """Nothing is written any more: what is, is dropped."""
        self.paused = False
        """The transport has more than it likes to hold."""
        self.sent_messages = False
        """Since the last ping of the peer."""

    def cork(self) -> None:
        """Keep frames back until `uncork`."""
        self._corked = True

    def uncork(self) -> None:
        """Write what was kept back."""
        self._corked = False
        if self._out:
            self.flush()

    def write(self, *frames: bytes | memoryview) -> None:
        """Frames, or parts of them, that no window holds back."""
        self._out += frames
        if not self._corked:
            self._schedule()

    def head(self, frames: bytes) -> None:
        """The frames of a header block."""
        if self.shrunk:
            self.shrunk = False
            frames = after_update(frames)
        self.write(frames)

    def limit_table(self, size: int) -> None:
        """The peer's table for our header blocks has this size now. We use none, but have to admit to a
        smaller one."""
        self.shrunk = self.shrunk or size < self._table
        self._table = size

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        if self._out:
            self.flush()

    def flush(self) -> None:
        """Write now."""
        out, self._out = self._out, []
        if not self.closed:
            self._transport.write(b"".join(out))

    def reply(self, stream: Source, message: bytes) -> bool:
        """A whole successful response, if it can go in one piece now."""
        size = len(message)
        framed = size + 5
        if framed > self.window or framed > stream.window or framed > self.max_frame:
            return False
        if self.paused or self.shrunk:
            return False
        self.window -= framed
        self.sent_messages = True
        number = stream.number
        self._out += (
            RESPONSE_START,
            number,
            RESPONSE_BLOCK,
            framed.to_bytes(3, "big"),
            b"\x00\x00",
            number,
            b"\x00",
            size.to_bytes(4, "big"),
            message,
            OK_START,
            number,
            OK_BLOCK,
        )
        if not self._corked:
            self._schedule()
        return True

    def message(self, stream: Source, message: bytes) -> bool:
        """One uncompressed message of a stream, if it can go in one piece now."""
        size = len(message)
        framed = size + 5
        if framed > self.window or framed > stream.window or framed > self.max_frame or self.paused:
            return False
        self.window -= framed
        stream.window -= framed
        self.sent_messages = True
        self.write(
            framed.to_bytes(3, "big"), b"\x00\x00", stream.number, b"\x00", size.to_bytes(4, "big"), message
        )
        return True

    def push(self, stream: Source) -> None:
        """A stream has something to send, or may send more of it."""
        self._waiting[stream] = None
        self.pump()

    def forget(self, stream: Source) -> None:
        """It has nothing to send any more."""
        self._waiting.pop(stream, None)

    def credit(self, count: int) -> None:
        """The peer takes more on the whole connection; raises `ConnectionFault`."""
        self.window += count
        if self.window > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
        if self._waiting:
            self.pump()

    def pause(self) -> None:
        """The transport has enough."""
        self.paused = True

    def resume(self) -> None:
        """It takes more."""
        self.paused = False
        self.pump()

    def pump(self) -> None:
        """Send what waits, a frame of each stream in turn."""
        waiting = self._waiting
        burst = 0
        while waiting and self.window > 0 and not self.paused:
            stream = next(iter(waiting))
            del waiting[stream]
            rest = stream.rest
            if rest is None:
                continue
            size = min(len(rest), stream.window, self.window, self.max_frame)
            if size <= 0:
                continue  # its own window is shut: it comes back with a credit of its own
            self.window -= size
            stream.window -= size
            self.sent_messages = True
            self.write(size.to_bytes(3, "big"), b"\x00\x00", stream.number, rest[:size])
            burst += size
            if size < len(rest):
                waiting[stream] = None
            if burst >= _BURST:
                burst = 0
                self.flush()
            stream.advanced(size)
