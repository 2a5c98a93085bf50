"""One stream of HTTP/2: a call, from its first DATA frame to its trailers."""

import asyncio
from typing import Protocol

from broadaxe.grpc_api.call import Call, Code, Metadata, RpcError
from broadaxe.grpc_api.lean.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    ErrorCode,
    StreamFault,
    frame,
    header_frames,
    reset_frame,
)
from broadaxe.grpc_api.lean.head import Head
from broadaxe.grpc_api.lean.inbound import gzipped, prefixed
from broadaxe.grpc_api.lean.replies import (
    GZIP_RESPONSE_BLOCK,
    GZIP_RESPONSE_START,
    OK_BLOCK,
    RESPONSE_BLOCK,
    RESPONSE_START,
    http_block,
    metadata_block,
    status_block,
)
from broadaxe.grpc_api.lean.request import Bounds, Incoming
from broadaxe.grpc_api.lean.route import Route

_BURST = 64
"""After so many messages of a stream other work has its turn."""
_SMALLEST_GZIPPED = 512
_PATIENCE = 0.1
_TOO_LARGE = "a message is larger than {} bytes"


class Owner(Bounds, Protocol):
    """The connection as its streams see it."""

    peer: str
    running: int

    def serve(self, stream: "Stream", request: bytes) -> None:
        """The one request of this stream is whole."""

    def released(self, stream: "Stream", *, by_us: bool) -> None:
        """The stream is over; `by_us`: the peer may not know yet and still send frames."""

    def answered_early(self, number: int, *, heard: bool) -> None:
        """The answer of a stream is complete before its request; `heard`: some of that has come."""


class Stream(Incoming):
    """Both directions of a call. Its methods are called by the connection and by the call's task."""

    __slots__ = (
        "_held_out",
        "_patience",
        "_sent",
        "_streaming",
        "_trailers",
        "_writer",
        "deadline",
        "deadline_key",
        "ended_out",
        "initial_metadata",
        "number",
        "open",
        "owner",
        "rest",
        "route",
        "started",
        "takes_gzip",
        "task",
        "trailing_metadata",
        "window",
    )

    def __init__(self, owner: Owner, number: int, head: Head) -> None:
        super().__init__(owner, number, head)
        self.owner = owner
        self.number = number.to_bytes(4, "big")
        self.window = owner.sender.initial_window
        self.route: Route | None = None
        self.takes_gzip = False
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        self.deadline_key = 0
        self.open = False
        """The connection has it among its streams; not yet while a call that came whole is tried at once."""
        self.ended_out = False
        self.rest: memoryview | None = None
        self.initial_metadata: Metadata = ()
        self.trailing_metadata: Metadata = ()
        self._held_out = self._sent = 0
        self._writer: asyncio.Future[None] | None = None
        self.started = False
        self._streaming = False
        self._trailers: bytes | None = None
        """The header block that is sent once `rest` is."""
        self._patience: asyncio.TimerHandle | None = None

    @property
    def answered(self) -> bool:
        """The status has been sent or waits behind a message."""
        return self.ended_out or self._trailers is not None

    def tell(self, call: Call) -> None:
        """Take over what the handler sends of its own. Before the first message, and before the end."""
        if not self.ended_out:
            self.initial_metadata, self.trailing_metadata = call.initial_metadata, call.trailing_metadata

    def reply(self, message: bytes) -> None:
        """Answer with this one message and OK."""
        if self.ended_out:
            return
        plain = not (self.takes_gzip or self.initial_metadata or self.trailing_metadata)
        if plain and self.ended_in and self._sender.reply(self, message):
            if self.open:
                self._release(by_us=False)
            else:
                self.ended_out = True
        elif self._put(message):
            self.finish()

    async def send(self, message: bytes) -> None:
        """Send one of several messages; returns when it is on its way, so that one at most waits here."""
        sender = self._sender
        if self._streaming and not self.ended_out and sender.message(self, message):
            self._sent += 1
            if self._sent % _BURST == 0:
                await asyncio.sleep(0)
            return
        if not self._put(message):
            await asyncio.sleep(0)  # whoever ended the stream has cancelled the task
        while self.rest is not None:
            self._writer = self.owner.loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def _put(self, message: bytes) -> bool:
        """Begin to send a message; False when the stream is over, perhaps because of it."""
        if self.ended_out:
            return False
        if len(message) > self.owner.max_message_size:
            self.end(RpcError(Code.RESOURCE_EXHAUSTED, _TOO_LARGE.format(self.owner.max_message_size)))
            return False
        self.start()
        data = (
            gzipped(message) if self.takes_gzip and len(message) >= _SMALLEST_GZIPPED else prefixed(message)
        )
        if not self.owner.held.take(len(data)):
            self.reset(ErrorCode.ENHANCE_YOUR_CALM)
            return False
        self._held_out += len(data)
        self.rest = memoryview(data)
        self._sender.push(self)
        return True

    def start(self) -> None:
        """Send the response's head, unless that has been done."""
        if self.started:
            return
        self.started = True
        self._streaming = not self.takes_gzip
        if self.initial_metadata:
            block = GZIP_RESPONSE_BLOCK if self.takes_gzip else RESPONSE_BLOCK
            block += metadata_block(self.initial_metadata)
            self._sender.head(header_frames(0, self.id, block, self._sender.max_frame))
        elif self.takes_gzip:
            self._sender.head(GZIP_RESPONSE_START + self.number + GZIP_RESPONSE_BLOCK)
        else:
            self._sender.head(RESPONSE_START + self.number + RESPONSE_BLOCK)

    def credit(self, count: int) -> None:
        """The client takes more, or less, on this stream; raises `StreamFault`."""
        self.window += count
        if self.window > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR)
        if self.rest is not None and self.window > 0:
            self._sender.push(self)

    def advanced(self, count: int) -> None:
        """The sender has sent a part of `rest`."""
        if self.rest is None:
            return
        if self._held_out:
            self.owner.held.take(-count)
            self._held_out -= count
        self.rest = self.rest[count:] if count < len(self.rest) else None
        if self.rest is None:
            if self._trailers is not None:
                self._finish(self._trailers)
            elif self._writer is not None and not self._writer.done():
                self._writer.set_result(None)

    def finish(self, code: Code = Code.OK, message: str = "", details: bytes | None = None) -> None:
        """End with this status, once everything has been sent."""
        if self.ended_out or self.refused:
            return
        if self.initial_metadata:
            self.start()
        sender = self._sender
        if code is Code.OK and self.started and not self.trailing_metadata:
            block = OK_BLOCK
        else:
            block = status_block(
                code,
                message,
                details,
                sender.header_limit,
                alone=not self.started,
                metadata=self.trailing_metadata,
            )
        if self.rest is None:
            if code is Code.OK or self.started or self.heard or self.ended_in:
                self._finish(block)
            else:
                self._refuse_soon(block)
        elif code is Code.OK:
            self._trailers = block
        else:
            self.reset(ErrorCode.CANCEL)  # no trailers can follow half a message

    def _refuse_soon(self, block: bytes) -> None:
        """grpcio reports an inner error of its own when the status comes before its first message is out: a
        refusal waits for that, though not for long."""
        self.refused = True
        self._trailers = block
        self._patience = self.owner.loop.call_later(_PATIENCE, self.refuse)

    def refuse(self) -> None:
        """Send the refusal that waits."""
        block, self._trailers = self._trailers, None
        self.refused = False
        if block is not None and not self.ended_out:
            self._finish(block)

    def _finish(self, block: bytes) -> None:
        """End with these trailers, or by an empty frame when they are empty."""
        sender = self._sender
        if block:
            sender.head(header_frames(END_STREAM, self.id, block, sender.max_frame))
        else:
            sender.write(frame(DATA, END_STREAM, self.id))
        self._end_out()

    def complete(self, request: bytes) -> None:
        """The only request is whole."""
        self.owner.serve(self, request)

    def answer_http(self) -> None:
        """Say in HTTP's terms that this is no call."""
        if not self.head.http_status:
            return
        block = http_block(self.head.http_status)
        if not self.head.http_text:
            self._finish(block)
            return
        self._sender.head(frame(HEADERS, END_HEADERS, self.id, block))
        self._trailers = b""
        self.rest = memoryview(self.head.http_text)
        self._sender.push(self)

    def _end_out(self) -> None:
        early = not self.ended_in
        if early:
            # First, since the release of the last stream may close the connection.
            self.owner.answered_early(self.id, heard=self.heard and self._patience is None)
        self._release(by_us=early)

    # How it ends otherwise

    def end(self, error: RpcError, details: bytes | None = None) -> None:
        """End with an error from outside of the call's task, which is cancelled."""
        self.finish(error.code, error.message, details)
        self._cancel()

    def expire(self) -> None:
        """The deadline has passed."""
        self.end(RpcError(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def reset(self, code: ErrorCode) -> None:
        """End without a status."""
        if not self.ended_out:
            self._sender.write(reset_frame(self.id, code))
            self._release(by_us=True)
        self._cancel()

    def abandon(self) -> None:
        """The client has gone."""
        if not self.ended_out:
            self._release(by_us=False)
        self._cancel()

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _release(self, *, by_us: bool) -> None:
        self.ended_out = True
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self.forget()
        if self.rest is not None:
            self.rest = None
            self._sender.forget(self)
        if self._held_out:
            self.owner.held.take(-self._held_out)
            self._held_out = 0
        self.owner.released(self, by_us=by_us)
