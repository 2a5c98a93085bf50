"""One connection without its streams: bytes to frames, settings, pings, windows, and how it ends."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from broadaxe.grpc_api.lean import frames as F
from broadaxe.grpc_api.lean.allowance import Allowance, PingPolicy
from broadaxe.grpc_api.lean.calls import Calls
from broadaxe.grpc_api.lean.frames import ConnectionFault, ErrorCode, StreamFault
from broadaxe.grpc_api.lean.head import Heads
from broadaxe.grpc_api.lean.hpack import HpackError, Texts
from broadaxe.grpc_api.lean.keepalive import Keepalive
from broadaxe.grpc_api.lean.memo import Memo
from broadaxe.grpc_api.lean.sender import Sender
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.lean.stream import Stream
from broadaxe.grpc_api.lean.usage import Held, Usage

log = logging.getLogger(__name__)

CONNECTION_WINDOW = 16 * 1024 * 1024
"""Given back as it is received: each stream's own window, and the limit on what is held, bound the memory."""
_HEADS_KEPT = 1024
_TEXTS_KEPT = 4096
_WRITE_BUFFER = 256 * 1024
_GOODBYE_PING = b"goodbye!"
_GOODBYE_WAIT = 1.0
_CLOSE_WAIT = 5.0
"""How long a peer may take to read what was written last, and to close too."""
_FAULT_WAIT = 1.0
"""The same of a peer that broke the rules or is one too many."""

Handler = Callable[[int, int, bytes], None]


@dataclass(slots=True)
class Shared:
    """What all connections of a server have in common."""

    loop: asyncio.AbstractEventLoop
    settings: LeanSettings
    calls: Calls
    usage: Usage
    heads: Heads = field(default_factory=lambda: Memo(_HEADS_KEPT))
    texts: Texts = field(default_factory=lambda: Memo(_TEXTS_KEPT))
    """What clients send again and again. Shared: kept for each connection it would be most of its memory."""
    connections: "set[Link]" = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever a connection goes, or its client has heard that it should."""
    stopping: bool = False


class Link(asyncio.Protocol, ABC):
    """What a connection does for itself. `Connection` adds the streams."""

    def __init__(self, shared: Shared) -> None:
        settings = shared.settings
        self._shared = shared
        self.loop = shared.loop
        self.held = Held(settings.max_buffered, shared.usage)
        self.max_message_size = settings.max_message_size
        self.stream_window = settings.stream_window
        # The client may not have heard of a smaller window than the default.
        self.first_credit = max(settings.stream_window, F.DEFAULT_WINDOW)
        self.peer = ""
        self.streams: dict[int, Stream] = {}
        self.running = 0
        """Tasks of calls, cancelled ones included."""
        self.last = 0
        """The highest stream the peer has opened."""
        self._partial = b""
        self._begun = False
        self._unacknowledged = 0
        now = shared.loop.time
        self.nuisances = Allowance("frames that do nothing", 1000, 200, now)
        self._settings_seen = Allowance("changes of settings", 100, 5, now)
        self._pings = PingPolicy(settings.min_ping_interval)
        self._leaving = self.left = self.dead = False
        self._goodbye: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._resuming: asyncio.Handle | None = None
        self.all_handlers: tuple[Handler, ...] = (
            self.on_data,
            self.on_headers,
            self.on_priority,
            self.on_reset,
            self._on_settings,
            self._on_push,
            self._on_ping,
            self._on_goaway,
            self._on_window,
            self.on_continuation,
        )
        first = self._on_first_frame
        self.handlers: tuple[Handler, ...] = tuple(
            self._on_settings if kind == F.SETTINGS else first for kind in range(10)
        )
        """By the type of frame; others for a while at the beginning and inside of header blocks."""

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow."""
        # uvloop's transports have the methods of this class without being derived from it.
        self._transport = transport = cast(asyncio.Transport, transport)
        settings = self._shared.settings
        transport.set_write_buffer_limits(_WRITE_BUFFER)
        self.sender = Sender(self.loop, transport)
        self.keepalive = Keepalive(
            self.loop, settings.keepalive_after, settings.keepalive_timeout, self.sender.write, self._give_up
        )
        self.peer = _address(transport.get_extra_info("peername"))
        self._shared.connections.add(self)
        self._shared.usage.connections += 1
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.dead = True
            transport.close()
            return
        announced = {
            F.MAX_CONCURRENT_STREAMS: settings.max_concurrent_streams,
            F.INITIAL_WINDOW_SIZE: min(settings.stream_window, F.LARGEST_WINDOW),
            F.MAX_HEADER_LIST_SIZE: settings.max_header_list,
        }
        self.sender.write(
            F.settings_frame(announced), F.window_frame(0, CONNECTION_WINDOW - F.DEFAULT_WINDOW)
        )
        self.keepalive.start()
        if self._shared.stopping:
            self.leave()
        elif self._shared.usage.connections > settings.max_connections:
            self._fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many connections"), "limit")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what nobody waits for."""
        self.dead = self.sender.closed = True
        self.keepalive.stop()
        for handle in (self._goodbye, self._patience, self._resuming):
            if handle is not None:
                handle.cancel()
        for stream in tuple(self.streams.values()):
            stream.abandon()
        self.untie()
        shared = self._shared
        shared.usage.connections -= 1
        shared.connections.discard(self)
        shared.changed.set()

    def untie(self) -> None:
        """Let go of what refers back to the connection: it is then freed at once, not by the collector, which
        comes the more seldom the more a process holds."""
        self.handlers = self.all_handlers = ()
        self.keepalive.untie()

    def pause_writing(self) -> None:
        """The peer reads too slowly: nothing more is read of it, since most of that would be answered."""
        self.sender.pause()
        if self._resuming is not None:
            self._resuming.cancel()
        if not self.dead:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up. What it has sent is read before more is written: that may fill the transport
        again at once, and pings and cancels of a peer that reads as fast as it can would never be heard."""
        if not self.dead:
            self._transport.resume_reading()
        self._resuming = self.loop.call_soon(self._resume_next)

    def _resume_next(self) -> None:
        """The loop looks at its sockets between this turn and the next."""
        self._resuming = self.loop.call_soon(self.sender.resume)

    def data_received(self, data: bytes) -> None:
        """Obey every whole frame; keep the rest."""
        if self.dead:
            return
        self.keepalive.heard_at = self.loop.time()
        sender = self.sender
        sender.cork()
        try:
            buffer = self._partial + data if self._partial else data
            self._partial = self._consume(buffer) if self._begun else self._begin(buffer)
        except ConnectionFault as fault:
            self._fail(fault)
        except HpackError as error:
            self._fail(ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)))
        finally:
            sender.uncork()

    def _begin(self, buffer: bytes) -> bytes:
        size = len(F.PREFACE)
        if buffer[:size] != F.PREFACE[: len(buffer)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(buffer) < size:
            return buffer
        self._begun = True
        return self._consume(buffer[size:])

    def _consume(self, buffer: bytes) -> bytes:
        """Handle the frames in a buffer; what is left of it."""
        position, end = 0, len(buffer)
        while end - position >= 9:
            high, low, kind, flags, number = F.read_head(buffer, position)
            size = high << 8 | low
            if size > F.DEFAULT_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame larger than announced")
            start = position + 9
            stop = start + size
            if stop > end:
                break
            position = stop
            number &= 0x7FFFFFFF
            try:
                if kind == F.HEADERS and flags == F.END_HEADERS and end - stop >= 14:
                    position = self.on_call(number, buffer, start, stop)
                elif kind < 10:
                    self.handlers[kind](flags, number, buffer[start:stop])
                else:
                    self._on_unknown()
            except StreamFault as fault:
                self.refuse(number, fault.code)
            if self.dead:
                return b""
        return buffer[position:]

    # Frames of the connection

    def _on_first_frame(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")

    def _on_unknown(self) -> None:
        if self.handlers is not self.all_handlers:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "an unknown frame out of place")
        self.nuisances.spend()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & F.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with a payload")
            self.nuisances.spend()
            return
        self.handlers = self.all_handlers
        self._settings_seen.spend()
        pairs = F.read_settings(payload)
        values = dict(pairs)
        sender = self.sender
        for name, value in pairs:
            if name == F.HEADER_TABLE_SIZE:
                sender.limit_table(value)
        sender.max_frame = values.get(F.MAX_FRAME_SIZE, sender.max_frame)
        sender.header_limit = values.get(F.MAX_HEADER_LIST_SIZE, sender.header_limit)
        sender.write(F.frame(F.SETTINGS, F.ACK, 0))
        window = values.get(F.INITIAL_WINDOW_SIZE, sender.initial_window)
        change, sender.initial_window = window - sender.initial_window, window
        if change:
            self._change_windows(change)

    def _change_windows(self, change: int) -> None:
        for stream in tuple(self.streams.values()):
            try:
                stream.credit(change)
            except StreamFault:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window became too large") from None

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING is not eight bytes long")
        if flags & F.ACK:
            self.nuisances.spend()
            if payload == _GOODBYE_PING and self._leaving:
                self._leave_at_last()
            return
        sender = self.sender
        if not sender.sent_messages:
            # Otherwise it may well measure the connection: grpc-go does so as often as an answer can come.
            self.nuisances.spend()
        self._pings.received(self.loop.time(), sender.sent_messages)
        sender.sent_messages = False
        sender.write(F.frame(F.PING, F.ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        self.nuisances.spend()

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:
        credit = F.read_credit(payload)
        stream = self.streams.get(number)
        if stream is not None:
            if not credit:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR)
            stream.credit(credit)
        elif (number and self.never_opened(number)) or (number == 0 and not credit):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE out of place")
        elif number == 0:
            self.sender.credit(credit)

    def never_opened(self, number: int) -> bool:
        """No frame may come for this stream: it has not been opened, or only we could. (After our goodbye the
        peer may open some that we let pass.)"""
        return not number & 1 or (number > self.last and not self.left)

    def count(self, size: int) -> None:
        """So many bytes of DATA came: let the peer send as many more, now and then."""
        self._unacknowledged += size
        if self._unacknowledged * 2 >= CONNECTION_WINDOW:
            self.sender.write(F.window_frame(0, self._unacknowledged))
            self._unacknowledged = 0

    # The end

    def _fail(self, fault: ConnectionFault, why: str = "") -> None:
        """The peer broke the rules: say which, and close."""
        log.info("%s: %s (%s)", self.peer, fault.text, fault.code.name)
        if not why:
            why = "flood" if fault.code is ErrorCode.ENHANCE_YOUR_CALM else "protocol"
        self._shared.usage.ended[why] += 1
        self.sender.write(F.goaway_frame(self.last, fault.code, fault.text))
        self.close(fault=True)

    def _give_up(self) -> None:
        log.info("%s does not answer", self.peer)
        self._shared.usage.ended["silent"] += 1
        self.abort()

    def close(self, *, fault: bool = False) -> None:
        """Close once the peer has read everything, or after a while, which is short after a fault of its own;
        what is still open is cancelled."""
        if self.dead:
            return
        self.dead = True
        self.sender.uncork()
        self.sender.closed = True
        self.keepalive.stop()
        # A peer that does not read would keep it open for ever.
        self._patience = self.loop.call_later(_FAULT_WAIT if fault else _CLOSE_WAIT, self._transport.abort)
        self._hang_up(fault)
        for stream in tuple(self.streams.values()):
            stream.abandon()

    def _hang_up(self, fault: bool) -> None:
        """Say that nothing more comes, and drop what the peer sends until it closes as well. Were the socket
        closed at once, the kernel would answer whatever the peer still sends, such as a WINDOW_UPDATE, with a
        reset, and the peer would lose what had not reached it. (TLS cannot close one direction alone, but
        the peer knows from the GOAWAY.)"""
        transport = self._transport
        try:
            if transport.can_write_eof():
                transport.write_eof()
            elif fault:
                transport.close()
                return
            transport.resume_reading()
        except OSError:  # it has gone
            transport.close()

    def abort(self) -> None:
        """Close without writing what waits."""
        self.dead = self.sender.closed = True
        self._transport.abort()

    def leave(self) -> None:
        """Tell the peer to go elsewhere: first that new calls are unwelcome, and once it has heard that, that
        they are no longer taken. Calls that are open may end."""
        if self._leaving or self.dead:
            return
        self._leaving = True
        self.sender.write(
            F.goaway_frame(F.LARGEST_WINDOW, ErrorCode.NO_ERROR, "the server is stopping"),
            F.frame(F.PING, 0, 0, _GOODBYE_PING),
        )
        self._goodbye = self.loop.call_later(_GOODBYE_WAIT, self._leave_at_last)

    def _leave_at_last(self) -> None:
        if self.left or self.dead:
            return
        self.left = True
        self._shared.changed.set()
        self.sender.write(F.goaway_frame(self.last, ErrorCode.NO_ERROR, "the server is stopping"))
        if not self.streams:
            self.close()

    # What streams need

    @abstractmethod
    def refuse(self, number: int, code: ErrorCode) -> None:
        """End a stream by RST_STREAM."""

    @abstractmethod
    def on_call(self, number: int, buffer: bytes, start: int, stop: int) -> int:
        """HEADERS with 14 bytes or more behind it; how far that, and what of the rest belongs to it, goes."""

    @abstractmethod
    def on_data(self, flags: int, number: int, payload: bytes) -> None:
        """DATA."""

    @abstractmethod
    def on_headers(self, flags: int, number: int, payload: bytes) -> None:
        """HEADERS."""

    @abstractmethod
    def on_priority(self, flags: int, number: int, payload: bytes) -> None:
        """PRIORITY."""

    @abstractmethod
    def on_reset(self, flags: int, number: int, payload: bytes) -> None:
        """RST_STREAM."""

    @abstractmethod
    def on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        """CONTINUATION."""


def _address(name: object) -> str:
    """As gRPC writes it."""
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = name[0], name[1]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unknown"
