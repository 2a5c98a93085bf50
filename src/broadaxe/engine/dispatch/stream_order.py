"""Puts a task's stream chunks into the order of their indexes."""

from collections.abc import Callable
from functools import partial

from broadaxe.engine.api import RunEvent
from broadaxe.engine.scheduler.timers import Timer, Timers


class StreamOrder:
    """Chunks of one task: held while one before them is missing, but not for long."""

    def __init__(self, timers: Timers, gap: float, limit: int, release: Callable[[RunEvent], None]) -> None:
        self._timers = timers
        self._gap = gap
        self._limit = limit
        self._release = release
        self._next = 0
        self._held: dict[int, RunEvent] = {}
        self._timer: Timer | None = None

    def put(self, chunk: RunEvent) -> None:
        """A chunk came. Without an index it passes at once; 0 begins anew, as a further attempt does."""
        index = chunk.event_index
        if index is None:
            self._release(chunk)
            return
        if index == 0 and self._next > 0:
            self.flush()
            self._next = 0
        if index < self._next:
            # Its place went by when the gap was given up.
            self._release(chunk)
            return
        self._held[index] = chunk
        self._pass()
        if len(self._held) > self._limit:
            self.flush()
        elif self._held and self._timer is None:
            self._timer = self._timers.after(self._gap, partial(self._give_up))

    def flush(self) -> None:
        """Let everything go, in order; counting goes on behind the last."""
        self._timers.cancel(self._timer)
        self._timer = None
        for index in sorted(self._held):
            self._release(self._held[index])
            self._next = index + 1
        self._held.clear()

    def _give_up(self) -> None:
        self._timer = None
        self.flush()

    def _pass(self) -> None:
        while self._next in self._held:
            self._release(self._held.pop(self._next))
            self._next += 1
        if not self._held:
            self._timers.cancel(self._timer)
            self._timer = None
