"""Who schedules: a session advisory lock, an epoch in a row, and the connection that also hears NOTIFY.

The lock is freed by the server the moment the process dies. The row's epoch fences every group commit, so an
owner whose lease connection was cut works on until another engine has taken over, and never after that.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import EngineId
from broadaxe.store.connection import Database
from broadaxe.store.failures import DRIVER_ERRORS, Failure, classify, describe
from broadaxe.store.ledger import Fenced, Lease, Message
from broadaxe.store.rows import message_of
from broadaxe.store.session import Session
from broadaxe.store.statements import statement
from broadaxe.store.writer import Fence
from broadaxe.telemetry import names as T

_log = logging.getLogger("broadaxe.store")

LOCK_CLASS = 0x62617865
"""First key of the advisory lock; the second is the partition."""
CHANNEL = "broadaxe"
SWEEP_LIMIT = 1000
_STEADY = 10.0
"""Seconds after which a connection that fails has been a good one."""
_LOCK_RETRY = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class _Row:
    epoch: int
    engine_id: UUID


class LeaseKeeper:
    """Holds one partition's lease, and takes it up again after a cut."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._partition = database.options.tenant_partition
        self._engine_id: EngineId | None = None
        self._session: Session | None = None
        self._locked = False
        self._busy = asyncio.Lock()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[Lease] | None = None
        self._wakers: list[Callable[[], None]] = []
        self._losers: list[Callable[[], None]] = []
        self.fence: Fence | None = None
        """What this process owns; every group commit is held to it."""

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Calls back when messages may wait."""
        self._wakers.append(callback)

    def on_fenced(self, callback: Callable[[], None]) -> None:
        """Calls back when another engine has taken the lease: memory is worth nothing any more."""
        self._losers.append(callback)

    def lose(self, fence: Fence) -> None:
        """The writer found the lease taken."""
        if self.fence != fence:
            return
        self.fence = None
        self._engine_id = None
        self._locked = False
        if self._session is not None:
            self._session.terminate()
        _log.error("Another engine owns the scheduling now (epoch %d was ours).", fence.epoch)
        for callback in self._losers:
            callback()

    async def acquire(self, engine_id: EngineId) -> Lease:
        """Waits until this process owns the lease. A second call of the same engine, with nobody in between,
        keeps its epoch."""
        if self._waiter is not None and not self._waiter.done():
            raise Unavailable("This process waits for the lease already.")
        self._engine_id = engine_id
        self._waiter = asyncio.get_running_loop().create_future()
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="store-lease")
        span = self._db.instruments.tracer.start(T.SPAN_LEASE_ACQUIRE)
        try:
            lease = await self._waiter
        except asyncio.CancelledError:
            if self.fence is None:
                self._engine_id = None
            span.end(error_type="cancelled")
            raise
        span.set(T.ATTR_EPOCH, lease.epoch)
        span.set(T.ATTR_PARTITION, lease.partition)
        span.end()
        return lease

    async def release(self, confirmed_until: datetime | None) -> None:
        """Gives the lease back at once; without a database it ends with the connection."""
        fence, self.fence, self._engine_id = self.fence, None, None
        session = self._session
        if fence is not None and session is not None and not session.closed:
            try:
                async with asyncio.timeout(2.0), self._busy:
                    if confirmed_until is not None:
                        await session.fetch(statement("span_mark_set"), fence.partition, confirmed_until)
                    await session.fetch(statement("lease_released"), fence.partition, fence.epoch)
                    await session.fetch(statement("lease_unlock"), LOCK_CLASS, fence.partition)
                    await session.fetch(statement("message_notify"), CHANNEL)
            except DRIVER_ERRORS as error:
                _log.warning("The lease ends with its connection: %s", describe(error))
                session.terminate()
        self._locked = False
        self._changed.set()

    async def close(self) -> None:
        """Ends the connection, and with it the lock."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def sweep(self, confirmed_until: datetime | None) -> list[Message]:
        """Takes waiting messages on the lease's connection, which this also proves alive."""
        fence, session = self.fence, self._session
        if fence is None:
            raise Fenced("This engine does not own the scheduling.")
        if session is None or session.closed:
            raise Unavailable("The lease's connection is away.")
        try:
            async with self._busy:
                rows = await session.fetch(
                    statement("message_sweep"), fence.partition, fence.epoch, confirmed_until, SWEEP_LIMIT
                )
        except DRIVER_ERRORS as error:
            if classify(error) is Failure.AWAY:
                session.terminate()
                self._changed.set()
            raise Unavailable(f"The sweep failed: {describe(error)}") from error
        return [message_of(row) for row in rows]

    # -- keeping it --------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        tries = 0
        while True:
            self._session = session = await self._db.connect_patiently("lease")
            began = self._db.clock.monotonic()
            self._locked = False
            session.on_termination(self._changed.set)
            try:
                await session.listen(CHANNEL, self._notified)
                self._wake()
                await self._hold(session)
            except DRIVER_ERRORS as error:
                _log.warning("The lease's connection failed: %s", describe(error))
                session.terminate()
                # Only what fails again soon is tried more slowly.
                tries = tries + 1 if self._db.clock.monotonic() - began < _STEADY else 0
                await self._db.pause(tries)

    def _notified(self) -> None:
        if not self._locked:
            self._changed.set()
        self._wake()

    def _wake(self) -> None:
        for callback in self._wakers:
            callback()

    async def _hold(self, session: Session) -> None:
        tries = 0
        while not session.closed:
            self._changed.clear()
            pause: float | None = None
            asked = self._waiter is not None and not self._waiter.done()
            if self._engine_id is not None and (asked or not self._locked):
                async with self._busy:
                    if await self._lock(session) and self._engine_id is not None:
                        await self._take(session, self._engine_id)
                        tries = 0
                        continue
                # A lock that is waited for on the server would hold back vacuum for as long.
                pause = _LOCK_RETRY[min(tries, len(_LOCK_RETRY) - 1)]
                tries += 1
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _lock(self, session: Session) -> bool:
        # The lock counts how often its session took it: never twice.
        if not self._locked:
            free = await session.fetch_value(statement("lease_try_lock"), LOCK_CLASS, self._partition)
            self._locked = bool(free)
        return self._locked

    async def _take(self, session: Session, engine_id: EngineId) -> None:
        """The lock is ours: write the epoch, or find that nobody was there in between."""
        partition = self._partition
        await session.begin()
        rows = await session.fetch(statement("lease_read"), partition)
        before = _Row(rows[0][0], rows[0][1]) if rows else None
        mine = before is not None and before.engine_id == engine_id
        epoch = 1 if before is None else before.epoch if mine else before.epoch + 1
        fence = self.fence
        if fence is not None and epoch != fence.epoch:
            await session.rollback()
            self.lose(fence)
            return
        await session.fetch(statement("lease_take"), partition, epoch, engine_id)
        mark = await session.fetch_value(statement("span_mark_read"), partition)
        if mark is None:
            # Of the very first owner nothing has left yet; if it dies at once, the next begins from here.
            await session.fetch(statement("span_mark_set"), partition, self._db.clock.now())
        await session.commit()
        if self._engine_id != engine_id:  # given up while this was under way
            await session.fetch(statement("lease_unlock"), LOCK_CLASS, partition)
            self._locked = False
            return
        self.fence = Fence(partition, epoch, engine_id)
        _log.info("This engine owns the scheduling (epoch %d).", epoch)
        if self._waiter is not None and not self._waiter.done():
            previous = None if before is None else EngineId(before.engine_id)
            self._waiter.set_result(Lease(partition, epoch, previous, mark))
