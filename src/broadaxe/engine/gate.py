"""Whether this process may act, for which tenants it decides, and whether it is on its way out."""

import asyncio
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.fleet import partition_of
from broadaxe.domain.ids import TenantId
from broadaxe.engine.scheduler.timers import Timers

_CLOSED = "the engine is not ready; try again"
_DRAINING = "the engine is shutting down; try again"


class Moved(Unavailable):
    """The tenant is scheduled by another engine now: the call is served in another way."""


@dataclass(slots=True)
class Owned:
    """A partition whose memory this process keeps."""

    generation: int
    since: float
    """Monotonic time at which its memory was whole."""
    leaving: bool = False
    """It is being handed over: nothing new is decided here."""


class Gate:
    """Opened when this process knows what it owns; owned partitions come and go while it is open."""

    def __init__(self, timers: Timers, hold: float, partitions: Callable[[], int] = lambda: 1) -> None:
        self._timers = timers
        self._hold = hold
        self._partitions = partitions
        self._waiting: list[Future[None]] = []
        self._ended = False
        self.generation = 0
        """Raised whenever a partition comes or goes."""
        self.owned: dict[int, Owned] = {}
        self.open = False
        self.draining = False

    def set_open(self) -> None:
        """This process serves calls."""
        self.open = True
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # -- what is owned ----------------------------------------------------------------------------------

    def partition(self, tenant_id: TenantId) -> int:
        """The tenant's partition."""
        return partition_of(tenant_id, self._partitions())

    def take(self, partition: int, now: float) -> None:
        """The partition's memory is whole: this process decides for its tenants."""
        self.generation += 1
        self.owned[partition] = Owned(self.generation, now)

    def leave(self, partition: int) -> None:
        """It is being handed over."""
        owned = self.owned.get(partition)
        if owned is not None:
            owned.leaving = True

    def drop(self, partition: int) -> bool:
        """It is not owned any more; whether it was."""
        if self.owned.pop(partition, None) is None:
            return False
        self.generation += 1
        return True

    def owns(self, tenant_id: TenantId) -> bool:
        """Whether this process decides for the tenant."""
        owned = self.owned.get(self.partition(tenant_id))
        return owned is not None and not owned.leaving

    def generation_of(self, tenant_id: TenantId) -> int:
        """Raised with each take-over: what was begun under another one must not touch memory any more. 0 when
        the tenant is not owned."""
        owned = self.owned.get(self.partition(tenant_id))
        return 0 if owned is None else owned.generation

    def since(self, tenant_id: TenantId) -> float:
        """Monotonic time since when the tenant is owned."""
        owned = self.owned.get(self.partition(tenant_id))
        return 0.0 if owned is None else owned.since

    # -- whether calls are served -----------------------------------------------------------------------

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
