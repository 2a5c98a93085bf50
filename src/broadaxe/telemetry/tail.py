"""Gathers arriving spans into traces and says when a trace has come to rest, so that it can be drawn once."""

from collections import OrderedDict
from collections.abc import Iterable

from broadaxe.clock import Clock
from broadaxe.telemetry.receiver import ReceivedSpan


class _Arriving:
    __slots__ = ("last", "shown", "spans")

    def __init__(self) -> None:
        self.spans: dict[str, ReceivedSpan] = {}
        self.last = 0.0
        self.shown = False


class TraceTail:
    """Keeps the newest traces. A trace rests when no span of it has come for `quiet` seconds.

    What arrives later (a run that took long, a retry) makes the whole trace due again.
    """

    def __init__(self, clock: Clock, quiet: float = 1.5, keep: int = 500) -> None:
        self._clock = clock
        self._quiet = quiet
        self._keep = keep
        self._traces: OrderedDict[str, _Arriving] = OrderedDict()

    def add(self, spans: Iterable[ReceivedSpan]) -> None:
        """Takes spans as they arrive; a span that is sent twice counts once."""
        now = self._clock.monotonic()
        for span in spans:
            trace = self._traces.get(span.trace_id)
            if trace is None:
                trace = self._traces[span.trace_id] = _Arriving()
                if len(self._traces) > self._keep:
                    self._traces.popitem(last=False)
            elif span.span_id in trace.spans:
                continue
            trace.spans[span.span_id] = span
            trace.last = now
            trace.shown = False

    def due(self) -> list[list[ReceivedSpan]]:
        """The traces that have come to rest since the last call, oldest first."""
        now = self._clock.monotonic()
        resting = [
            trace for trace in self._traces.values() if not trace.shown and now - trace.last >= self._quiet
        ]
        for trace in resting:
            trace.shown = True
        return [list(trace.spans.values()) for trace in resting]

    def spans(self) -> list[ReceivedSpan]:
        """All spans that are kept, for links that lead from one trace to another."""
        return [span for trace in self._traces.values() for span in trace.spans.values()]
