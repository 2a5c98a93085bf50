"""The streams of one connection: how they begin, go on and end."""

import asyncio
from collections import deque

from broadaxe.grpc_api.lean import frames as F
from broadaxe.grpc_api.lean.allowance import Allowance
from broadaxe.grpc_api.lean.frames import ConnectionFault, ErrorCode, StreamFault
from broadaxe.grpc_api.lean.head import HeadReader, Malformed, check_trailers
from broadaxe.grpc_api.lean.hpack import Decoder, Field
from broadaxe.grpc_api.lean.inbound import PREFIX
from broadaxe.grpc_api.lean.link import Handler, Link, Shared
from broadaxe.grpc_api.lean.stream import Stream

_BLOCK_FACTOR = 2
"""A header block may be so many times as long as the list it stands for, since clients may encode badly."""
_MAX_CONTINUATIONS = 64
_REMEMBERED = 1024
_REMEMBERED_OF_THE_PEER = 32
_EARLY_WAIT = 0.5


class _Block:
    """A header block that comes in several frames."""

    __slots__ = ("flags", "frames", "number", "parts", "size")

    def __init__(self, number: int, flags: int, part: bytes) -> None:
        self.number = number
        self.flags = flags
        self.parts = [part]
        self.size = len(part)
        self.frames = 0


class Connection(Link):
    """The protocol of one connection."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        settings = shared.settings
        self._calls = shared.calls
        self._max_streams = settings.max_concurrent_streams
        self._max_block = _BLOCK_FACTOR * settings.max_header_list
        self._heads = HeadReader(Decoder(texts=shared.texts), settings.max_header_list, shared.heads)
        self._resets = Allowance(
            "cancelled calls", max(1000, settings.max_concurrent_streams), 1000, shared.loop.time
        )
        self._over: deque[int] = deque(maxlen=_REMEMBERED_OF_THE_PEER)
        """Streams that ended lately and the peer knows it. Kept for the right code alone, so few are."""
        self._ended: dict[int, None] = {}
        """Streams that we ended lately: the peer may have sent frames before it knew."""
        self._early: dict[int, asyncio.TimerHandle] = {}
        """Answered streams whose requests are not complete, and when they will be reset."""
        self._block: _Block | None = None
        self._in_block: tuple[Handler, ...] = (
            *((self._on_interruption,) * F.CONTINUATION),
            self.on_continuation,
        )

    def serve(self, stream: Stream, request: bytes) -> None:
        """The one request of this stream is whole."""
        self._calls.serve(stream, request)

    def released(self, stream: Stream, *, by_us: bool) -> None:
        """The stream is over."""
        number = stream.id
        if not stream.open:
            return
        stream.open = False
        del self.streams[number]
        self._shared.usage.streams -= 1
        self._calls.ended(stream)
        if by_us:
            self._remember(number)
        else:
            self._over.append(number)
        if self.left and not self.streams:
            self.close()

    def _remember(self, number: int) -> None:
        ended = self._ended
        ended[number] = None
        if len(ended) > _REMEMBERED:
            for old in list(ended)[: _REMEMBERED // 2]:
                del ended[old]

    def answered_early(self, number: int, *, heard: bool) -> None:
        """Tell the client that it need not finish its request; when none of that came, a moment later: grpcio
        takes a reset while it sends its first message for a failure, though the status came before."""
        if heard:
            self.sender.write(F.reset_frame(number, ErrorCode.NO_ERROR))
        else:
            self._early[number] = self.loop.call_later(_EARLY_WAIT, self._reset_early, number)

    def _reset_early(self, number: int) -> None:
        if self._forget_early(number):
            self.sender.write(F.reset_frame(number, ErrorCode.NO_ERROR))

    def _forget_early(self, number: int) -> bool:
        timer = self._early.pop(number, None)
        if timer is None:
            return False
        timer.cancel()
        return True

    def close(self, *, fault: bool = False) -> None:
        """As a connection does, once every call that was answered is over for the client too."""
        for number in tuple(self._early):
            self._reset_early(number)
        super().close(fault=fault)

    def connection_lost(self, exc: Exception | None) -> None:
        """As a connection does."""
        for number in tuple(self._early):
            self._forget_early(number)
        super().connection_lost(exc)

    def untie(self) -> None:
        """As a connection does."""
        self._in_block = ()
        super().untie()

    def refuse(self, number: int, code: ErrorCode) -> None:
        """The peer broke a rule of one stream, or it is one too many."""
        self.nuisances.spend()
        stream = self.streams.get(number)
        if stream is not None:
            stream.reset(code)
        else:
            self.sender.write(F.reset_frame(number, code))
            self._remember(number)

    def on_data(self, flags: int, number: int, payload: bytes) -> None:
        """DATA: a part of a request."""
        size = len(payload)
        self.count(size)
        stream = self.streams.get(number)
        if stream is None:
            self._late(number, "DATA")
            if flags & F.END_STREAM:
                self._forget_early(number)
            return
        if stream.ended_in:
            raise StreamFault(ErrorCode.STREAM_CLOSED)
        ended = bool(flags & F.END_STREAM)
        if flags & F.PADDED:
            payload = F.unpadded(payload)
        if not payload and not ended:
            self.nuisances.spend()
        stream.received(payload, size, ended)

    def _late(self, number: int, what: str) -> None:
        """A frame for a stream that is not open."""
        if self.left and number > self.last:
            return  # of a call that crossed our goodbye: its client repeats it elsewhere
        if self.never_opened(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{what} on a stream that is not open")
        if number not in self._ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED)

    def on_call(self, number: int, buffer: bytes, start: int, stop: int) -> int:
        """HEADERS with more behind it: mostly a whole call, its head and its request in one frame each."""
        high, low, kind, flags, same, compressed, length = F.read_call(buffer, stop)
        size = high << 8 | low
        end: int = stop + 9 + size
        if (
            kind != F.DATA
            or flags != F.END_STREAM
            or same != number
            or compressed
            or length + PREFIX != size
            or end > len(buffer)
            or size > F.DEFAULT_FRAME_SIZE
            or length > self.max_message_size
            or number <= self.last
            or not number & 1
            or self.left
            or self.handlers is not self.all_handlers
        ):
            self.handlers[F.HEADERS](F.END_HEADERS, number, buffer[start:stop])
            return stop
        stream, timeout = self._begin_stream(number, buffer[start:stop])
        if not self._calls.answer(stream, buffer[end - length : end], timeout):
            self._add(stream)
            self._calls.begin(stream, timeout)
            return stop
        self.count(size)
        if stream.ended_out:
            self._over.append(number)
        else:
            self._add(stream)
        return end

    def on_headers(self, flags: int, number: int, payload: bytes) -> None:
        """HEADERS: the head of a request, or its trailers."""
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that a client cannot open")
        if flags & F.PADDED:
            payload = F.unpadded(payload)
        if flags & F.PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without their priority")
            if int.from_bytes(payload[:4], "big") & F.LARGEST_WINDOW == number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
            payload = payload[5:]
        if flags & F.END_HEADERS:
            self._headers(number, flags, payload)
        else:
            self._block = _Block(number, flags, payload)
            self.handlers = self._in_block

    def on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        """CONTINUATION: the next part of a header block."""
        block = self._block
        if block is None or block.number != number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION out of place")
        block.parts.append(payload)
        block.size += len(payload)
        block.frames += 1
        if block.size > self._max_block or block.frames > _MAX_CONTINUATIONS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "an endless header block")
        if flags & F.END_HEADERS:
            self._block = None
            self.handlers = self.all_handlers
            self._headers(number, block.flags, b"".join(block.parts))

    def _on_interruption(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        stream = self.streams.get(number)
        ended = bool(flags & F.END_STREAM)
        if stream is not None:
            self._trailers(stream, self._heads.skip(block), ended)
        elif number <= self.last:
            self._heads.skip(block)
            self.nuisances.spend()
            if number in self._over:
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a stream that is closed")
            if number not in self._ended:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "streams must be opened in order")
            self._forget_early(number)
        elif self.left:
            self._heads.skip(block)
        else:
            self._open(number, block, ended)

    def _open(self, number: int, block: bytes, ended: bool) -> None:
        stream, timeout = self._begin_stream(number, block)
        self._add(stream)
        stream.ended_in = ended
        self._calls.begin(stream, timeout)
        if ended and not stream.ended_out:
            stream.received(b"", 0, True)

    def _begin_stream(self, number: int, block: bytes) -> tuple[Stream, float | None]:
        """A stream that is not registered yet, and the time-out of its call; raises `StreamFault`."""
        self.last = number
        try:
            head, timeout = self._heads.read(block)
        except Malformed:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR) from None
        # Cancelled calls that still clean up count too.
        if len(self.streams) >= self._max_streams or self.running >= 2 * self._max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM)
        return Stream(self, number, head), timeout

    def _add(self, stream: Stream) -> None:
        stream.open = True
        self.streams[stream.id] = stream
        self._shared.usage.streams += 1

    def _trailers(self, stream: Stream, fields: list[Field], ended: bool) -> None:
        if stream.ended_in:
            raise StreamFault(ErrorCode.STREAM_CLOSED)
        try:
            check_trailers(fields)
        except Malformed:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR) from None
        if not ended:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)
        stream.received(b"", 0, True)

    def on_priority(self, flags: int, number: int, payload: bytes) -> None:
        """PRIORITY, which nobody uses any more."""
        if number == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        self.nuisances.spend()
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR)
        if int.from_bytes(payload[:4], "big") & F.LARGEST_WINDOW == number:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR)

    def on_reset(self, flags: int, number: int, payload: bytes) -> None:
        """RST_STREAM: the client no longer wants an answer."""
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM is not four bytes long")
        if self.never_opened(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on a stream that is not open")
        self._resets.spend()
        self._forget_early(number)
        stream = self.streams.get(number)
        if stream is not None:
            stream.abandon()
