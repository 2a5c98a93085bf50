"""The incoming half of a stream: from DATA frames to the requests of a call."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Protocol

from broadaxe.grpc_api.call import Code, RpcError
from broadaxe.grpc_api.lean.frames import ErrorCode, StreamFault, window_frame
from broadaxe.grpc_api.lean.head import Head
from broadaxe.grpc_api.lean.inbound import PREFIX, Messages, inflated
from broadaxe.grpc_api.lean.sender import Sender
from broadaxe.grpc_api.lean.usage import Held

_TOO_MUCH = "the connection holds too much that is not read"


class Bounds(Protocol):
    """The connection as far as it bounds what is taken in."""

    sender: Sender
    held: Held
    loop: asyncio.AbstractEventLoop
    max_message_size: int
    stream_window: int
    first_credit: int
    """What a client may send on a new stream."""


class Incoming(ABC):
    """What a client sends on one stream; an asynchronous iterator where that may be several requests."""

    __slots__ = (
        "_bounds",
        "_credit",
        "_expected",
        "_held_in",
        "_messages",
        "_queue",
        "_reader",
        "_sender",
        "_unread",
        "ended_in",
        "head",
        "heard",
        "id",
        "refused",
        "streams_in",
    )

    def __init__(self, bounds: Bounds, number: int, head: Head) -> None:
        self._bounds = bounds
        self._sender = bounds.sender
        self.id = number
        self.head = head
        self.streams_in: bool | None = None
        """Whether the client sends any number of messages; None when what it sends is of no interest."""
        self.ended_in = False
        """Nothing more will come."""
        self.heard = False
        """Something has come."""
        self.refused = False
        """The answer is a refusal that waits for the first sign of the request."""
        self._credit = bounds.first_credit
        self._expected = head.length
        self._held_in = self._unread = 0
        self._messages: Messages | None = None
        self._queue: deque[tuple[bool, bytes]] | None = None
        self._reader: asyncio.Future[None] | None = None

    @abstractmethod
    def complete(self, request: bytes) -> None:
        """The only request is whole."""

    @abstractmethod
    def answer_http(self) -> None:
        """The request of a client that does not speak gRPC is whole."""

    @abstractmethod
    def refuse(self) -> None:
        """Send the refusal that waits."""

    @abstractmethod
    def end(self, error: RpcError) -> None:
        """End with an error from outside of the call's task, which is cancelled."""

    def forget(self) -> None:
        """Drop what is not read."""
        self.ended_in = True
        if self._held_in:
            self._bounds.held.take(-self._held_in)
            self._held_in = 0
        if self._queue:
            self._queue.clear()
        self._unread = 0

    def received(self, data: bytes, size: int, ended: bool) -> None:
        """The contents of a DATA frame that counts `size` with its padding; raises `StreamFault`."""
        self._credit -= size
        self.heard = True
        if self._credit < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR)
        if ended:
            self.ended_in = True
        if self.refused:
            self.refuse()
            return
        if self._expected is not None:
            self._expected -= len(data)
            if self._expected < 0 or (ended and self._expected):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        if ended and self.streams_in is False and self._messages is None and len(data) >= PREFIX:
            request = data[PREFIX:]
            size = len(request)
            if (
                data[0] == 0
                and int.from_bytes(data[1:PREFIX], "big") == size <= self._bounds.max_message_size
            ):
                self.complete(request)
                return
        if self.streams_in is None:
            if ended:
                self.answer_http()
            else:
                self._recredit()
            return
        try:
            self._assemble(data, ended)
        except RpcError as error:
            self.end(error)

    def _assemble(self, data: bytes, ended: bool) -> None:
        messages, queue = self._messages, self._queue
        if messages is None or queue is None:
            messages = self._messages = Messages(self._bounds.max_message_size)
            queue = self._queue = deque()
        for item in messages.feed(data):
            queue.append(item)
            self._unread += len(item[1]) + PREFIX
        self._hold(len(messages) + self._unread)
        if ended and len(messages):
            raise RpcError(Code.INTERNAL, "a message is cut short")
        if self.streams_in:
            self._wake_reader()
        elif len(queue) > 1 or (ended and not queue):
            raise RpcError(Code.UNIMPLEMENTED, "this method takes one request")
        elif ended:
            self.complete(self._next(queue))
            return
        if not ended:
            self._recredit()

    def _hold(self, count: int) -> None:
        if not self._bounds.held.take(count - self._held_in):
            raise RpcError(Code.RESOURCE_EXHAUSTED, _TOO_MUCH)
        self._held_in = count

    def _next(self, queue: deque[tuple[bool, bytes]]) -> bytes:
        compressed, data = queue.popleft()
        count = len(data) + PREFIX
        self._unread -= count
        self._bounds.held.take(-count)
        self._held_in -= count
        return inflated(data, self.head.encoding, self._bounds.max_message_size) if compressed else data

    def _recredit(self) -> None:
        """Let the client send as much again as has been read, once that is half of its window."""
        window = self._bounds.stream_window
        credit = self._bounds.first_credit - self._credit - self._unread
        if credit * 2 >= window and not self.ended_in:
            self._credit += credit
            self._sender.write(window_frame(self.id, credit))

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def __aiter__(self) -> "Incoming":
        return self

    async def __anext__(self) -> bytes:
        """The next request of a client that sends several; raises `RpcError` for one that cannot be read."""
        while not self._queue:
            if self.ended_in:
                raise StopAsyncIteration
            self._reader = self._bounds.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._next(self._queue)
        self._recredit()
        return message
