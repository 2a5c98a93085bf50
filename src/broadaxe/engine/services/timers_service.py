"""Sleeps until the earliest due time, and fires what is due."""

import asyncio

from broadaxe.clock import Clock
from broadaxe.engine.scheduler.timers import Timers

_GRAIN = 0.001
"""The loop's clock runs in milliseconds and may be a little ahead of ours: without this a sleep would end too
early, again and again."""


class TimersService:
    """Connects the heap of due times to the event loop."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._handle: asyncio.TimerHandle | None = None
        self._running = False

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._timers.on_sooner = self._arm
        self._arm()

    async def stop(self) -> None:
        """End; what is due stays in the heap."""
        self._running = False
        self._timers.on_sooner = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def healthy(self) -> bool:
        """Whether it runs."""
        return self._running

    def fire(self) -> None:
        """Fire what is due now."""
        self._timers.run_due()
        self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        due = self._timers.next_due()
        if due is not None and self._running:
            left = due - self._clock.monotonic()
            delay = left + _GRAIN if left > 0 else 0.0
            self._handle = asyncio.get_running_loop().call_later(delay, self.fire)
