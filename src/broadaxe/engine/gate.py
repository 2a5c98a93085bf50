"""Whether this process may act: it owns the scheduling, and it is not on its way out."""

import asyncio
from asyncio import Future

from broadaxe.domain.errors import Unavailable
from broadaxe.engine.scheduler.timers import Timers

_CLOSED = "the engine is not ready; try again"
_DRAINING = "the engine is shutting down; try again"


class Gate:
    """Opened when memory is rebuilt, closed when the lease is gone."""

    def __init__(self, timers: Timers, hold: float) -> None:
        self._timers = timers
        self._hold = hold
        self._waiting: list[Future[None]] = []
        self._ended = False
        self.open = False
        self.draining = False
        self.generation = 0
        """Raised with each opening: what was begun under another one must not touch memory any more."""
        self.opened_at = 0.0
        """Monotonic time of the last opening."""

    def set_open(self, now: float) -> None:
        """This process owns the scheduling and its memory is whole."""
        self.open = True
        self.generation += 1
        self.opened_at = now
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def set_closed(self) -> None:
        """Stop acting."""
        self.open = False

    def require(self) -> None:
        """Raise Unavailable unless new work may come in."""
        if self.draining:
            raise Unavailable(_DRAINING)
        if not self.open:
            raise Unavailable(_CLOSED)

    async def wait(self, *, admit_draining: bool = False) -> None:
        """Hold the caller until this process may act. Unavailable after the hold, or when it drains."""
        if self.draining and not admit_draining:
            raise Unavailable(_DRAINING)
        if self.open:
            return
        if self._ended:
            raise Unavailable(_CLOSED)
        future: Future[None] = asyncio.get_running_loop().create_future()
        timer = self._timers.after(self._hold, lambda: _expire(future))
        try:
            await self._wait_on(future)
        finally:
            self._timers.cancel(timer)

    async def wait_for_opening(self) -> None:
        """Wait as long as it takes. Unavailable when the process ends."""
        if not self.open:
            await self._wait_on(asyncio.get_running_loop().create_future())

    async def _wait_on(self, future: "Future[None]") -> None:
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def give_up(self) -> None:
        """The process ends: nobody waits any longer."""
        self._ended = True
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            _expire(future)


def _expire(future: "Future[None]") -> None:
    if not future.done():
        future.set_exception(Unavailable(_CLOSED))
