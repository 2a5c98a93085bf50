"""Collects received spans into whole traces: a trace is taken as whole when nothing new came for a while."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from broadaxe.clock import Clock
from broadaxe.telemetry.receiver import ReceivedSpan

OPEN_LIMIT = 1000
"""Traces kept while they are still growing; the oldest is given out early beyond that."""


@dataclass(slots=True)
class _Growing:
    spans: list[ReceivedSpan] = field(default_factory=list)
    last: float = 0.0


class TraceGatherer:
    """Hand `add` to a `Receiver` as its `on_spans`; take traces from here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._growing: dict[str, _Growing] = {}
        self._changed = asyncio.Event()

    def add(self, spans: Iterable[ReceivedSpan]) -> None:
        """Sort arrived spans into their traces."""
        now = self._clock.monotonic()
        for span in spans:
            trace = self._growing.setdefault(span.trace_id, _Growing())
            trace.spans.append(span)
            trace.last = now
        self._changed.set()

    async def traces(self, quiet: float) -> AsyncIterator[list[ReceivedSpan]]:
        """Each trace once it got nothing new for `quiet` seconds; never ends."""
        while True:
            now = self._clock.monotonic()
            done = [key for key, trace in self._growing.items() if now - trace.last >= quiet]
            overflow = max(0, len(self._growing) - OPEN_LIMIT)
            for key in done or list(self._growing)[:overflow]:
                yield self._growing.pop(key).spans
            soonest = min((trace.last for trace in self._growing.values()), default=None)
            await self._wait(None if soonest is None else max(0.01, soonest + quiet - now))

    async def trace(
        self, trace_id: str, names: frozenset[str], quiet: float, timeout: float
    ) -> list[ReceivedSpan]:
        """One trace, once spans of all these names are there and it got nothing new for `quiet` seconds.

        After `timeout` seconds it is given as it is.
        """
        end = self._clock.monotonic() + timeout
        while True:
            now = self._clock.monotonic()
            trace = self._growing.get(trace_id, _Growing(last=now))
            whole = names <= {span.name for span in trace.spans}
            if now >= end or (whole and now - trace.last >= quiet):
                return list(trace.spans)
            await self._wait(min(end - now, trace.last + quiet - now if whole else end - now))

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return
