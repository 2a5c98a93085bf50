"""The span while it is open, and the one that stands for all spans that are not recorded."""

from collections.abc import Callable
from typing import Final

from broadaxe.telemetry.context import NO_CONTEXT, ZERO_TRACE_ID, TraceContext
from broadaxe.telemetry.encode import (
    Pair,
    encode_dropped,
    encode_event,
    encode_link,
    encode_span,
    encode_status,
)
from broadaxe.telemetry.names import ATTR_ERROR_TYPE
from broadaxe.telemetry.vocabulary import Attr, AttrValue, EventName, SpanName

LINK_LIMIT = 128
EVENT_LIMIT = 128
HELD_LIMIT = 1000
"""Ended spans that wait for the one above them; further ones go ahead of it."""

Sink = Callable[[bytes], None]
"""Takes an ended span's bytes; never blocks and never raises."""


class Span:
    """A recorded span. Its methods never raise on account of a value; after `end()` they do nothing."""

    __slots__ = (
        "_attributes",
        "_events",
        "_extra",
        "_flags",
        "_held",
        "_links",
        "_now_ns",
        "_out",
        "_parent_id",
        "_sink",
        "_start_ns",
        "name",
        "span_id",
        "trace_id",
    )

    def __init__(
        self,
        name: SpanName,
        trace_id: bytes,
        span_id: bytes,
        parent_id: bytes,
        start_ns: int,
        flags: bytes,
        now_ns: Callable[[], int],
        sink: Sink,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self._parent_id = parent_id
        self._start_ns = start_ns
        self._flags = flags
        self._now_ns = now_ns
        self._sink: Sink | None = sink
        self._out = sink
        self._held: list[bytes] | None = None
        self._attributes: dict[Attr, AttrValue] = {}
        self._extra = b""
        self._links = 0
        self._events = 0

    @property
    def recording(self) -> bool:
        """Whether it is open: what is set now is kept."""
        return self._sink is not None

    @property
    def context(self) -> TraceContext:
        """What spans below this one, here or elsewhere, take as their parent."""
        return TraceContext(self.trace_id, self.span_id, True)

    def set(self, attr: Attr, value: AttrValue) -> None:
        """Sets an attribute; the last value of a key counts."""
        self._attributes[attr] = value

    def link(self, context: TraceContext, *pairs: Pair) -> None:
        """Points to a span that has to do with this one without being above it; at most 128 are kept.

        A link to what is not recorded (`NOOP.context`) is left out.
        """
        if context.trace_id == ZERO_TRACE_ID:
            return
        self._links += 1
        if self._links <= LINK_LIMIT:
            self._extra += encode_link(context, pairs)

    def event(self, name: EventName, *pairs: Pair) -> None:
        """Notes that something happened now; at most 128 are kept."""
        self._events += 1
        if self._events <= EVENT_LIMIT:
            self._extra += encode_event(name, self._now_ns(), pairs)

    def take(self, span: bytes) -> None:
        """Takes an ended span from below this one, and hands it on once this one has ended.

        If it left at once, a process killed now would leave it without what it hangs under.
        """
        if self._sink is None or (self._held is not None and len(self._held) >= HELD_LIMIT):
            self._out(span)
        elif self._held is None:
            self._held = [span]
        else:
            self._held.append(span)

    def end(
        self, end_ns: int | None = None, error_type: str | None = None, message: str | None = None
    ) -> None:
        """Closes the span and hands it on. With `error_type` (few different values) its status is error.

        What is an error is the caller's decision: a server's 4xx is none. A second call does nothing.
        """
        sink = self._sink
        if sink is None:
            return
        self._sink = None
        extra = self._extra
        if error_type is not None:
            self._attributes[ATTR_ERROR_TYPE] = error_type
            extra += encode_status(message)
        if self._links > LINK_LIMIT or self._events > EVENT_LIMIT:
            extra += encode_dropped(max(0, self._links - LINK_LIMIT), max(0, self._events - EVENT_LIMIT))
        sink(
            encode_span(
                self.name,
                self.trace_id,
                self.span_id,
                self._parent_id,
                self._start_ns,
                self._now_ns() if end_ns is None else end_ns,
                self._attributes,
                extra,
                self._flags,
            )
        )
        held, self._held = self._held, None
        for span in held or ():
            sink(span)


class NoopSpan:
    """Stands for every span that is not recorded; there is one, `NOOP`."""

    __slots__ = ()

    recording: Final = False
    context: Final = NO_CONTEXT

    def set(self, attr: Attr, value: AttrValue) -> None:
        """Does nothing."""

    def link(self, context: TraceContext, *pairs: Pair) -> None:
        """Does nothing."""

    def event(self, name: EventName, *pairs: Pair) -> None:
        """Does nothing."""

    def end(
        self, end_ns: int | None = None, error_type: str | None = None, message: str | None = None
    ) -> None:
        """Does nothing."""


NOOP: Final = NoopSpan()

AnySpan = Span | NoopSpan
