"""Holds a call while the database is away, instead of refusing it."""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import TypeVar

from broadaxe.domain.errors import ResourceExhausted, Unavailable
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Moved
from broadaxe.engine.scheduler.timers import Timers

_T = TypeVar("_T")


class HeldCalls:
    """For listeners and task events: a worker's SDK takes a refusal badly and a wait well."""

    def __init__(self, context: EngineContext, timers: Timers) -> None:
        self._clock = context.clock
        self._hold = context.options.hold
        self._pause = context.options.retry_write
        self._timers = timers
        self._waiting: list[Future[None]] = []
        self.ended = False
        context.ledger.state.listeners.append(self._changed)

    async def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """What `work` gives, tried again when the database may be back. ResourceExhausted after the hold."""
        until = self._clock.monotonic() + self._hold
        while True:
            try:
                return await work()
            except Moved:
                raise
            except Unavailable as error:
                if self.ended or self._clock.monotonic() >= until:
                    raise ResourceExhausted(error.message) from error
            await self._wait()

    def give_up(self) -> None:
        """The process ends: nobody waits any longer."""
        self.ended = True
        self._changed(True)

    async def _wait(self) -> None:
        """Until the database is back, or a moment has passed."""
        future: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        timer = self._timers.after(self._pause, lambda: _release(future))
        try:
            await future
        finally:
            self._timers.cancel(timer)
            if future in self._waiting:
                self._waiting.remove(future)

    def _changed(self, available: bool) -> None:
        if available:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                _release(future)


def _release(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
