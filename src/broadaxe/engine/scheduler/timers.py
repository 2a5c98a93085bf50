"""One heap of due times. Nothing polls: the timer service sleeps until the earliest of them."""

import heapq
from collections.abc import Callable
from datetime import datetime

from broadaxe.clock import Clock

_COMPACT_AT = 1_024


class Timer:
    """A due time; `cancel` it through the `Timers` that made it."""

    __slots__ = ("callback", "due", "sequence")

    def __init__(self, due: float, sequence: int, callback: Callable[[], None]) -> None:
        self.due = due
        self.sequence = sequence
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: "Timer") -> bool:
        return (self.due, self.sequence) < (other.due, other.sequence)


class Timers:
    """Due times on the monotonic clock; cancelled ones stay in the heap until it is worth clearing them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[Timer] = []
        self._sequence = 0
        self._cancelled = 0
        self.on_sooner: Callable[[], None] | None = None
        """Called when a new timer is the earliest."""

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back in so many seconds (at once when negative)."""
        self._sequence += 1
        timer = Timer(self._clock.monotonic() + max(0.0, seconds), self._sequence, callback)
        heapq.heappush(self._heap, timer)
        if self.on_sooner is not None and self._heap[0] is timer:
            self.on_sooner()
        return timer

    def when(self, due: datetime, callback: Callable[[], None]) -> Timer:
        """Call back at a time of the wall clock."""
        return self.after((due - self._clock.now()).total_seconds(), callback)

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer; None and one that has fired are fine."""
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > _COMPACT_AT and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry.callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_due(self) -> float | None:
        """The earliest due time, None when nothing waits."""
        while self._heap and self._heap[0].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0].due if self._heap else None

    def run_due(self, limit: int = 1_000) -> int:
        """Fire what is due, at most `limit`; how many fired."""
        fired = 0
        now = self._clock.monotonic()
        while fired < limit:
            due = self.next_due()
            if due is None or due > now:
                break
            timer = heapq.heappop(self._heap)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                fired += 1
                callback()
        return fired

    def clear(self) -> None:
        """Forget everything."""
        for timer in self._heap:
            timer.callback = None
        self._heap.clear()
        self._cancelled = 0
