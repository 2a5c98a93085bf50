"""Starts and emits spans. Everything that records a span does it through one `Tracer`.

Call it from the event loop's thread: it takes no locks.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from types import TracebackType

from broadaxe.clock import Clock, Ids
from broadaxe.telemetry.context import ZERO_SPAN_ID, ZERO_TRACE_ID, TraceContext
from broadaxe.telemetry.encode import (
    FLAGS_LOCAL,
    FLAGS_PLAIN,
    Pair,
    encode_dropped,
    encode_link,
    encode_span,
    encode_status,
)
from broadaxe.telemetry.names import ATTR_ERROR_TYPE
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.span import LINK_LIMIT, NOOP, AnySpan, NoopSpan, Sink, Span
from broadaxe.telemetry.strict import StrictSpan, check_link, check_name, check_pair
from broadaxe.telemetry.vocabulary import SpanName

__all__ = ["NOOP", "AnySpan", "NoopSpan", "Span", "Tracer", "current_span"]

_POOL = 4096

_current: ContextVar[AnySpan] = ContextVar("broadaxe_span", default=NOOP)


def current_span() -> AnySpan:
    """The span that work of this task belongs to; `NOOP` when there is none.

    One that has ended is none: timers and tasks keep the context they were made in, and what they do later is
    no part of it.
    """
    span = _current.get()
    return span if span.recording else NOOP


class Tracer:
    """Makes spans and hands their bytes to a sink when they end.

    `strict` makes it raise on anything the contract does not declare; tests use it, servers do not.
    """

    __slots__ = (
        "_clock",
        "_ids",
        "_now_ns",
        "_pool",
        "_pool_at",
        "_sampler",
        "_sink",
        "_span",
        "_strict",
        "enabled",
    )

    def __init__(
        self, clock: Clock, ids: Ids, sink: Sink | None, sampler: Sampler, *, strict: bool = False
    ) -> None:
        self._clock = clock
        self._now_ns = clock.now_ns
        self._ids = ids
        self._sink: Sink = sink if sink is not None else _nowhere
        self._sampler = sampler
        self._strict = strict
        self._span: type[Span] = StrictSpan if strict else Span
        self._pool = b""
        self._pool_at = 0
        self.enabled = sink is not None
        """False when no collector is set: every call then returns at once."""

    def _random(self, count: int) -> bytes:
        # One system call serves some hundred ids. An all-zero id is not a valid one.
        at = self._pool_at
        if at + count > len(self._pool):
            self._pool = self._ids.random_bytes(_POOL)
            at = 0
        self._pool_at = at + count
        value = self._pool[at : at + count]
        return value if any(value) else b"\x01" * count

    def decide(self, trace_id: bytes, caller: TraceContext | None = None) -> bool:
        """Whether a trace is recorded: tracing is on, the ratio takes its id, its caller does not mind."""
        return self.enabled and self._sampler.decide(trace_id, caller)

    def new_root(self) -> TraceContext:
        """A fresh trace, decided; its all-zero span id says that nothing is above."""
        trace_id = self._random(16)
        return TraceContext(trace_id, ZERO_SPAN_ID, self.decide(trace_id))

    def adopt(self, caller: TraceContext | None) -> TraceContext:
        """The place under a caller, with this server's own decision; without a caller a fresh trace."""
        if caller is None:
            return self.new_root()
        return caller._replace(sampled=self.decide(caller.trace_id, caller))

    def start(
        self,
        name: SpanName,
        parent: TraceContext | AnySpan | None = None,
        span_id: bytes | None = None,
        start_ns: int | None = None,
    ) -> AnySpan:
        """Opens a span; the caller must `end()` it.

        Without a parent it is the root of a fresh trace. `span_id` is given where the id is derived,
        `start_ns` (nanoseconds since 1970) where the beginning is past. What is not recorded is `NOOP`.
        """
        if not self.enabled:
            return NOOP
        flags, sink = FLAGS_PLAIN, self._sink
        if parent is None:
            trace_id, parent_id, sampled = self.new_root()
            if not sampled:
                return NOOP
        elif isinstance(parent, TraceContext):
            trace_id, parent_id, sampled = parent
            if not sampled:
                return NOOP
        elif isinstance(parent, NoopSpan):
            return NOOP
        else:
            trace_id, parent_id, flags = parent.trace_id, parent.span_id, FLAGS_LOCAL
            sink = parent.take
        if self._strict:
            check_name(name)
        return self._span(
            name,
            trace_id,
            self._random(8) if span_id is None else span_id,
            parent_id,
            self._now_ns() if start_ns is None else start_ns,
            flags,
            self._now_ns,
            sink,
        )

    def emit(
        self,
        name: SpanName,
        parent: TraceContext | AnySpan | None,
        start_ns: int,
        end_ns: int,
        span_id: bytes | None = None,
        attrs: Iterable[Pair] = (),
        links: Iterable[TraceContext] = (),
        error_type: str | None = None,
        message: str | None = None,
    ) -> None:
        """Records a span whose beginning and end are known (nanoseconds since 1970), in one call.

        Without a parent it is the root of a fresh trace. Links to what is not recorded are left out.
        """
        if not self.enabled:
            return
        if parent is None:
            parent = self.new_root()
        sink = self._sink
        if isinstance(parent, TraceContext):
            trace_id, parent_id, sampled = parent
            if not sampled:
                return
            flags = FLAGS_PLAIN
        elif isinstance(parent, NoopSpan):
            return
        else:
            trace_id, parent_id, flags = parent.trace_id, parent.span_id, FLAGS_LOCAL
            sink = parent.take
        attributes = dict(attrs)
        kept = [link for link in links if link.trace_id != ZERO_TRACE_ID]
        if self._strict:
            self._check(name, attributes.items(), kept)
        extra = b"".join([encode_link(link) for link in kept[:LINK_LIMIT]]) if kept else b""
        if len(kept) > LINK_LIMIT:
            extra += encode_dropped(len(kept) - LINK_LIMIT, 0)
        if error_type is not None:
            attributes[ATTR_ERROR_TYPE] = error_type
            extra += encode_status(message)
        new_id = self._random(8) if span_id is None else span_id
        sink(encode_span(name, trace_id, new_id, parent_id, start_ns, end_ns, attributes, extra, flags))

    def _check(self, name: SpanName, pairs: Iterable[Pair], links: Iterable[TraceContext]) -> None:
        check_name(name)
        for attr, value in pairs:
            check_pair(name.name, name.attributes, attr, value)
        for link in links:
            check_link(name.name, name.attributes, link, ())

    def enter(self, span: AnySpan) -> None:
        """Makes a span the current one of this task for as long as it is open."""
        _current.set(span)

    def use(self, span: AnySpan) -> "Use":
        """Makes a span the current one of this task for a `with` block; it does not end it."""
        return Use(span)


class Use:
    """The block in which a span is current; made by `Tracer.use`."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: AnySpan) -> None:
        self._span = span

    def __enter__(self) -> AnySpan:
        self._token = _current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)


def _nowhere(span: bytes) -> None:
    """The sink of a tracer that is off."""
