"""The lease in memory, who has joined, and the messages that they leave each other."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from broadaxe.clock import Clock
from broadaxe.domain.fleet import Fleet, Held, Member
from broadaxe.domain.ids import EngineId
from broadaxe.store.ledger import Lease, Message
from broadaxe.testkit.memory.commits import MemoryCommits
from broadaxe.testkit.memory.tables import MemoryTables


class MemoryFleet(MemoryCommits):
    """One lease for all tenants: who asks waits in line."""

    def __init__(self, clock: Clock, tables: MemoryTables | None = None) -> None:
        super().__init__(clock, tables)
        self._losers: list[Callable[[int], None]] = []
        self._lookers: list[Callable[[Fleet], None]] = []

    @property
    def partition_count(self) -> int:
        """One lease for all tenants."""
        return 1

    @property
    def held(self) -> frozenset[int]:
        """The one partition, when it is owned."""
        return frozenset({0}) if self.tables.owner is self else frozenset()

    @property
    def tried(self) -> bool:
        """Whoever asks is answered at once, or waits in line."""
        return True

    @property
    def fleet(self) -> Fleet:
        """Who has joined, and whose the lease is."""
        members = tuple(
            Member(engine_id, ledger.takes_leases)
            for engine_id, ledger in sorted(self.tables.members.items())
        )
        owner = self.tables.owner
        held = owner.engine_id if owner is not None else None
        return Fleet(members, () if held is None else (Held(0, held, self.tables.epoch),))

    @property
    def silent(self) -> tuple[EngineId, ...]:
        """Engines are alive or have left."""
        return ()

    def join(self, engine_id: EngineId, *, schedules: bool) -> None:
        """Known to the others at once."""
        self.engine_id, self.takes_leases = engine_id, schedules
        self.tables.members[engine_id] = self

    async def joined(self) -> None:
        """At once."""
        await asyncio.sleep(0)

    async def leave(self) -> None:
        """Known to nobody."""
        await asyncio.sleep(0)
        if self.engine_id is not None:
            self.tables.members.pop(self.engine_id, None)

    async def untold_since(self, engine_id: EngineId, after: timedelta) -> datetime | None:
        """Nobody is silent."""
        await asyncio.sleep(0)
        return None

    async def bury(self, engine_id: EngineId, after: timedelta) -> bool:
        """Nobody is silent."""
        await asyncio.sleep(0)
        return False

    async def acquire_lease(self, engine_id: EngineId) -> Lease:
        """Wait for the lease, raise the epoch; who has it waits for ever."""
        self.join(engine_id, schedules=True)
        if self.tables.owner is self and self._epoch == self.tables.epoch:
            await self._until_lost()
        if self.tables.owner is not None and self.tables.owner is not self:
            future: Future[None] = asyncio.get_running_loop().create_future()
            self.tables.waiting.append((self, future))
            await future
        await asyncio.sleep(0)
        self.tables.owner = self
        self.tables.epoch += 1
        self._epoch = self.tables.epoch
        return Lease(0, self._epoch, None, self.tables.confirmed_until)

    async def _until_lost(self) -> None:
        waiter: Future[None] = asyncio.get_running_loop().create_future()
        self._losers.append(lambda partition: None if waiter.done() else waiter.set_result(None))
        await waiter

    async def release_lease(
        self, confirmed_until: datetime | None, partition: int = 0, heir: EngineId | None = None
    ) -> None:
        """Give it back."""
        await asyncio.sleep(0)
        if confirmed_until is not None:
            self.tables.confirmed_until = confirmed_until
        if self.tables.owner is self:
            self._pass_on()

    def _pass_on(self) -> None:
        self.tables.owner = None
        while self.tables.waiting:
            ledger, future = self.tables.waiting.popleft()
            if not future.done():
                self.tables.owner = ledger
                future.set_result(None)
                return

    async def sweep(self, confirmed_until: datetime | None) -> list[Message]:
        """Take the messages."""
        await self._reach()
        owner = self._fence() is None
        if confirmed_until is not None and owner:
            self.tables.confirmed_until = confirmed_until
        taken: list[Message] = []
        left: list[Message] = []
        for message in self.tables.messages:
            mine = owner if message.engine_id is None else message.engine_id == self.engine_id
            (taken if mine else left).append(message)
        self.tables.messages = left
        for callback in self._lookers:
            callback(self.fleet)
        return taken

    def on_fleet(self, callback: Callable[[Fleet], None]) -> None:
        """Remember whom to tell of each sweep."""
        self._lookers.append(callback)

    def on_fenced(self, callback: Callable[[int], None]) -> None:
        """Remember whom to tell that the lease is gone."""
        self._losers.append(callback)

    def crash(self) -> None:
        """The process is gone: what was not committed never will be, the lease is free."""
        self._queue.clear()
        self._epoch = -1
        if self.engine_id is not None:
            self.tables.members.pop(self.engine_id, None)
        if self.tables.owner is self:
            self._pass_on()

    def lose(self) -> None:
        """Another process takes the lease from this one, as after a cut of its connection."""
        self.tables.epoch += 1
        self.tables.owner = None
        self._epoch = -1
        batch, self._queue = self._queue, deque()
        for commit in batch:
            commit()
        for callback in list(self._losers):
            callback(0)
