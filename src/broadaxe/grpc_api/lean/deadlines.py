"""Deadlines of many calls with few timers: calls that end in the same few milliseconds share one."""

import asyncio
from collections.abc import Callable
from typing import Protocol

_GRAIN = 0.02
_TICK = 0.001
"""The loop's clock runs in milliseconds and may be a little ahead of ours."""
_MOST_SLOTS = 4096
"""Up to here slots without calls are kept for calls to come; 80 s of time-outs."""


class Expiring(Protocol):
    """What has a deadline."""

    def expire(self) -> None:
        """It has passed."""


class Deadlines:
    """A deadline is noticed up to 20 ms late, never early."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float]) -> None:
        self._loop = loop
        self._monotonic = monotonic
        self._slots: dict[int, tuple[set[Expiring], asyncio.TimerHandle]] = {}

    def add(self, what: Expiring, at: float) -> int:
        """Call `expire` after this moment of the monotonic clock; the key with which to take it back."""
        key = int(at / _GRAIN) + 1
        slot = self._slots.get(key)
        if slot is None:
            wait = max(0.0, key * _GRAIN - self._monotonic()) + _TICK
            slot = self._slots[key] = set(), self._loop.call_later(wait, self._due, key)
        slot[0].add(what)
        return key

    def discard(self, what: Expiring, key: int) -> None:
        """It no longer matters."""
        slot = self._slots.get(key)
        if slot is not None:
            calls, timer = slot
            calls.discard(what)
            if not calls and len(self._slots) > _MOST_SLOTS:
                # Its time may be hours away, and each call have a time-out of its own.
                timer.cancel()
                del self._slots[key]

    def _due(self, key: int) -> None:
        wait = key * _GRAIN - self._monotonic()
        calls, _ = self._slots[key]
        if wait > 0:
            self._slots[key] = calls, self._loop.call_later(wait + _TICK, self._due, key)
            return
        del self._slots[key]
        for what in calls:
            what.expire()
