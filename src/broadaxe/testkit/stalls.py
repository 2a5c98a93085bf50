"""How long a machine kept this process from running: what a bound on real time must not count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broadaxe.clock import SystemClock

_PERIOD = 0.01
_LATE = 0.02
"""Seconds by which a timer may be late on a machine that has time."""
_clock = SystemClock()


class Stalls:
    """`async with Stalls() as stalls:` then `stalls.seconds`, of a machine that is paused or overloaded.

    It sees what delays the event loop of this process; programs under test are delayed by the same machine.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._since = 0.0
        self._sum = 0.0

    async def __aenter__(self) -> "Stalls":
        self._since = _clock.monotonic()
        self._task = asyncio.create_task(self._watch(), name="stalls")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def seconds(self) -> float:
        """All of them so far."""
        return self._sum + self._late()

    def _late(self) -> float:
        late = _clock.monotonic() - self._since - _PERIOD
        return late if late > _LATE else 0.0

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD)
            self._sum += self._late()
            self._since = _clock.monotonic()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """What happens inside is over in this time, less what the machine itself stands still; AssertionError."""
    began = _clock.monotonic()
    async with Stalls() as stalls:
        yield
        took, stalled = _clock.monotonic() - began, stalls.seconds
    assert took - stalled < seconds, f"{took:.2f} s, of which the machine stood still {stalled:.2f}"
