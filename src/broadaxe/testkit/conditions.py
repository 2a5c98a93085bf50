"""Waiting for something to become true, bounded in time, with a name for when it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from broadaxe.clock import SystemClock

T = TypeVar("T")
_PERIOD = 0.01
_clock = SystemClock()


async def until(
    condition: Callable[[], T | Awaitable[T]], what: str, timeout: float = 30.0, period: float = _PERIOD
) -> T:
    """The first true value of `condition`; AssertionError naming `what` after `timeout` seconds.

    For things outside of the process, which cannot notify us; inside of it wait for their event.
    """
    end = _clock.monotonic() + timeout
    while True:
        value = condition()
        result = await value if isinstance(value, Awaitable) else value
        if result:
            return result
        if _clock.monotonic() >= end:
            raise AssertionError(f"after {timeout:g} s still not: {what}")
        await asyncio.sleep(period)
