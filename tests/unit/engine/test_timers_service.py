"""Due times and the event loop: one sleep for one due time."""

import asyncio

import pytest

from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.services.timers_service import TimersService
from broadaxe.testkit.virtual_time import VirtualClock


class Sleeps:
    """A loop whose clock runs in whole milliseconds, and is almost one of them ahead."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.delays: list[float] = []

    def call_later(self, delay: float, callback: object, *arguments: object) -> asyncio.TimerHandle:
        self.delays.append(delay)
        assert callable(callback)
        return asyncio.TimerHandle(delay, callback, arguments, asyncio.get_running_loop())

    def wake(self, service: TimersService) -> None:
        """The last sleep ends, as early as it may."""
        self._clock.advance(max(0.0, self.delays[-1] - 0.0009))
        service.fire()


async def test_loop_that_wakes_early_is_asked_once_for_a_due_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    sleeps = Sleeps(clock)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", sleeps.call_later)
    timers = Timers(clock)
    service = TimersService(clock, timers)
    service.start()
    fired: list[float] = []
    timers.after(0.02, lambda: fired.append(clock.monotonic()))
    sleeps.wake(service)
    assert len(fired) == 1
    assert fired[0] == pytest.approx(0.0201)
    assert len(sleeps.delays) == 1
    timers.after(-1.0, lambda: fired.append(clock.monotonic()))
    assert sleeps.delays[1:] == [0.0]
    sleeps.wake(service)
    assert len(fired) == 2
    await service.stop()
