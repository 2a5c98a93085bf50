"""One process's commits: they happen on the next turn of the loop, in order, unless they are held."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from broadaxe.clock import Clock
from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import EngineId
from broadaxe.store.ledger import EVERYBODY, DatabaseState, Message
from broadaxe.testkit.memory.events import MemoryEvents
from broadaxe.testkit.memory.schedules import MemorySchedules
from broadaxe.testkit.memory.tables import MemoryTables

_T = TypeVar("_T")


class MemoryCommits:
    """What all parts of a ledger in memory stand on: the tables, the queue of commits, faults at will.

    With `hold` set, commits wait for `release`.
    """

    def __init__(self, clock: Clock, tables: MemoryTables | None = None) -> None:
        self._clock = clock
        self.tables = tables if tables is not None else MemoryTables()
        self.schedules = MemorySchedules(self.tables.schedules, self.tables.newest, clock.now)
        self.events = MemoryEvents(self.tables, clock.now, self._reach)
        self.state = DatabaseState(available=True)
        self.hold = False
        self.refuse: Callable[[object], BaseException | None] = lambda item: None
        """Asked for every NewTask and TaskWrite: an exception makes the item fail."""
        self.commits = 0
        self.reads = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._planned = False
        self._epoch = 0
        self.engine_id: EngineId | None = None
        self.takes_leases = True
        self._wake: list[Callable[[], None]] = []

    def go_away(self) -> None:
        """The database cannot be reached: reads are refused, writes wait."""
        self.state.available = False
        self.hold = True

    def come_back(self) -> None:
        """It can be reached again."""
        self.state.available = True
        self.release()
        for listener in list(self.state.listeners):
            listener(True)

    async def _reach(self) -> None:
        """A round trip to the database."""
        await asyncio.sleep(0)
        if not self.state.available:
            raise Unavailable("the database cannot be reached")

    def release(self) -> None:
        """Commit what waits, and go on as usual."""
        self.hold = False
        self._plan()

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Remember whom to wake."""
        self._wake.append(callback)

    def wake(self) -> None:
        """As a NOTIFY would."""
        for callback in self._wake:
            callback()

    def _submit(
        self, items: Sequence[object], work: Callable[[], _T], *, fenced: bool = True
    ) -> "Future[_T]":
        """Commit what `work` does, unless an item is refused, or the lease is gone that it is `fenced` by."""
        future: Future[_T] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            if future.cancelled():
                return
            error = self._fence() if fenced else None
            error = error or next((e for e in map(self.refuse, items) if e is not None), None)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(work())

        self._enqueue(commit)
        return future

    def _later(self, work: Callable[[], _T]) -> "Future[_T]":
        """Commit what nothing refuses, whether or not anybody still waits for it."""
        future: Future[_T] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            result = work()
            if not future.done():
                future.set_result(result)

        self._enqueue(commit)
        return future

    def _enqueue(self, commit: Callable[[], None]) -> None:
        self._queue.append(commit)
        self._plan()

    def _plan(self) -> None:
        if not self._planned and not self.hold and self._queue:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._commit)

    def _commit(self) -> None:
        self._planned = False
        if self.hold:
            return
        self.commits += 1
        batch, self._queue = self._queue, deque()
        for commit in batch:
            commit()

    def _fence(self) -> BaseException | None:
        if self._epoch != self.tables.epoch or self.tables.owner is not self:
            return Unavailable("another engine owns the scheduling now")
        return None

    def _leave(self, messages: Sequence[Message]) -> None:
        """Put messages where their engines find them, and wake these."""
        for message in messages:
            if message.kind in EVERYBODY and message.engine_id is None and self.tables.members:
                for member in self.tables.members:
                    self.tables.messages.append(replace(message, engine_id=member))
            else:
                self.tables.messages.append(message)
        if messages:
            for ledger in list(self.tables.members.values()):
                if ledger is not self:
                    asyncio.get_running_loop().call_soon(ledger.wake)
