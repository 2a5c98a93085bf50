"""Who schedules what: session advisory locks, epochs in rows, and the connection that also hears NOTIFY.

The locks are freed by the server the moment the process dies. An epoch fences every group commit, so an owner
whose lease connection was cut works on until another engine has taken over, and never after that. Behind a
transaction pooler there are no session locks: a lease is free then when its owner was silent for a while.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.fleet import Fleet, Held, Member, free_to_take
from broadaxe.domain.ids import EngineId
from broadaxe.store.connection import Database
from broadaxe.store.failures import DRIVER_ERRORS, Failure, classify, describe
from broadaxe.store.ledger import Fenced, Lease, Message
from broadaxe.store.messages import CHANNEL
from broadaxe.store.pending import Fence
from broadaxe.store.rows import message_of
from broadaxe.store.session import Session
from broadaxe.store.statements import statement
from broadaxe.telemetry import names as T

_log = logging.getLogger("broadaxe.store")

LOCK_CLASS = 0x62617865
"""First key of the advisory locks; the second is the partition."""
SWEEP_LIMIT = 1000
_STEADY = 10.0
"""Seconds after which a connection that fails has been a good one."""
_LOCK_RETRY = (0.05, 0.1, 0.2, 0.5, 1.0)
_OFFERED_FOR = 1.5
"""Seconds for which only the heir takes a lease that was given back; as `message_sweep` has it."""


@dataclass(frozen=True, slots=True)
class _Row:
    epoch: int
    engine_id: UUID
    released: bool


class _Member(msgspec.Struct):
    id: UUID
    schedules: bool
    fresh: bool


class _Held(msgspec.Struct):
    partition: int
    engine_id: UUID
    epoch: int
    offered_to: UUID | None = None


class _Seen(msgspec.Struct):
    members: list[_Member] | None = None
    silent: list[UUID] | None = None
    leases: list[_Held] | None = None


class LeaseKeeper:
    """Holds the leases of some partitions, takes them up again after a cut, says that this engine lives."""

    def __init__(self, database: Database) -> None:
        options = database.options
        self._db = database
        self._locks = options.lease_by_lock
        self._dead_after = timedelta(seconds=options.engine_dead_after)
        self._lease_life = timedelta(seconds=options.lease_life)
        self._engine_id: EngineId | None = None
        self._schedules = True
        self._session: Session | None = None
        self._joined: Session | None = None
        self._here = asyncio.Event()
        self._locked: set[int] = set()
        self._unlock: set[int] = set()
        self._given: dict[int, float] = {}
        """Until when (monotonic) partitions handed over are their heirs' alone; no sweep shows it yet."""
        self._gained: deque[Lease] = deque()
        self._busy = asyncio.Lock()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[Lease] | None = None
        self._wakers: list[Callable[[], None]] = []
        self._losers: list[Callable[[int], None]] = []
        self._lookers: list[Callable[[Fleet], None]] = []
        self.fences: dict[int, Fence] = {}
        """What this process owns, by partition; every group commit is held to it."""
        self.partitions = options.partitions
        """How many there are: what the database says, once this engine has joined."""
        self.tried = False
        """Whether leases were asked for since this engine began to: what was free then is its own."""
        self.fleet = Fleet()
        """As the last sweep saw it."""
        self.silent: tuple[EngineId, ...] = ()
        """Engines that have a row and are not heard of."""

    @property
    def engine_id(self) -> EngineId | None:
        """The engine of this process, None before it joined."""
        return self._engine_id

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Calls back when messages may wait."""
        self._wakers.append(callback)

    def on_fenced(self, callback: Callable[[int], None]) -> None:
        """Calls back with a partition that another engine has taken: its memory is worth nothing any more."""
        self._losers.append(callback)

    def on_fleet(self, callback: Callable[[Fleet], None]) -> None:
        """Calls back with what each sweep saw."""
        self._lookers.append(callback)

    def lose(self, fence: Fence) -> None:
        """The lease was found taken."""
        if self.fences.get(fence.partition) != fence:
            return
        del self.fences[fence.partition]
        if fence.partition in self._locked:
            self._locked.discard(fence.partition)
            self._unlock.add(fence.partition)
        _log.error("Another engine owns partition %d now (epoch %d was ours).", fence.partition, fence.epoch)
        for callback in self._losers:
            callback(fence.partition)
        self._changed.set()

    def join(self, engine_id: EngineId, *, schedules: bool) -> None:
        """Let this engine be known to the others. One that does not schedule never takes a lease."""
        self._engine_id = engine_id
        self._schedules = schedules
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="store-lease")

    async def joined(self) -> None:
        """Waits until the others know it, for the first time."""
        await self._here.wait()

    async def acquire(self, engine_id: EngineId) -> Lease:
        """Waits until this process owns a partition that it did not own before."""
        if self._waiter is not None and not self._waiter.done():
            raise Unavailable("This process waits for a lease already.")
        self.join(engine_id, schedules=True)
        while self._gained:
            lease = self._gained.popleft()
            if self._is_held(lease):
                return lease
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    def _is_held(self, lease: Lease) -> bool:
        fence = self.fences.get(lease.partition)
        return fence is not None and fence.epoch == lease.epoch

    async def release(
        self, partition: int, confirmed_until: datetime | None, heir: EngineId | None = None
    ) -> None:
        """Gives a lease back at once, for `heir` if named; without a database it ends with the connection."""
        if heir is not None:
            self._given[partition] = self._db.clock.monotonic() + _OFFERED_FOR
        fence = self.fences.pop(partition, None)
        session = self._session
        if fence is not None and session is not None and not session.closed:
            try:
                async with asyncio.timeout(2.0), self._busy:
                    if confirmed_until is not None:
                        await session.fetch(statement("span_mark_set"), partition, confirmed_until)
                    await self._let_go(session, partition, fence.epoch, heir)
            except DRIVER_ERRORS as error:
                _log.warning("The lease ends with its connection: %s", describe(error))
                session.terminate()
        self._changed.set()

    async def leave(self) -> None:
        """This engine is not there any more."""
        engine_id, self._engine_id = self._engine_id, None
        session = self._session
        if engine_id is not None and session is not None and session is self._joined and not session.closed:
            try:
                async with asyncio.timeout(2.0), self._busy:
                    await session.fetch(statement("engine_leave"), engine_id)
            except DRIVER_ERRORS as error:
                _log.warning(
                    "The others will notice by its silence that this engine is gone: %s", describe(error)
                )
        self._joined = None

    async def close(self) -> None:
        """Ends the connection, and with it the locks."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def sweep(self, confirmed_until: datetime | None) -> list[Message]:
        """Takes waiting messages on the lease's connection, which this also proves alive."""
        session, engine_id = self._session, self._engine_id
        if engine_id is None:
            raise Fenced("This engine has not joined the others.")
        if session is None or session.closed or self._joined is not session:
            raise Unavailable("The lease's connection is away.")
        try:
            async with self._busy:
                mine = list(self.fences.values())
                rows = await session.fetch(
                    statement("message_sweep"),
                    engine_id,
                    confirmed_until,
                    [fence.partition for fence in mine],
                    [fence.epoch for fence in mine],
                    SWEEP_LIMIT,
                    self._dead_after,
                )
        except DRIVER_ERRORS as error:
            if classify(error) is Failure.AWAY:
                session.terminate()
                self._changed.set()
            raise Unavailable(f"The sweep failed: {describe(error)}") from error
        self._look(engine_id, mine, rows[0]["body"])
        return [message_of(row) for row in rows[1:]]

    async def untold_since(self, engine_id: EngineId, after: timedelta) -> datetime | None:
        """Up to when the spans of an engine had left it that was not heard of for so long; None if it was."""
        rows = await self._db.fetch(statement("engine_silence"), engine_id, after)
        return rows[0][0] if rows else None

    async def bury(self, engine_id: EngineId, after: timedelta) -> bool:
        """Drops an engine that was not heard of for so long, and its messages; False when somebody else did,
        or when it is not so."""
        return bool(await self._db.fetch(statement("engine_bury"), engine_id, after))

    def _look(self, engine_id: EngineId, mine: Sequence[Fence], told: bytes) -> None:
        seen = msgspec.json.decode(told, type=_Seen)
        members = tuple(Member(EngineId(one.id), one.schedules, one.fresh) for one in seen.members or ())
        leases = tuple(
            Held(
                one.partition,
                EngineId(one.engine_id),
                one.epoch,
                None if one.offered_to is None else EngineId(one.offered_to),
            )
            for one in seen.leases or ()
        )
        self.fleet = Fleet(members, leases)
        self.silent = tuple(EngineId(one) for one in seen.silent or () if one != engine_id)
        if not self.fleet.alive(engine_id) and engine_id not in (seen.silent or ()):
            self._joined = None  # it was taken for dead and buried: join anew
            self._changed.set()
        held = {lease.partition: lease for lease in leases}
        for fence in mine:
            row = held.get(fence.partition)
            if row is None or row.epoch != fence.epoch or row.engine_id != engine_id:
                self.lose(fence)
        for callback in self._lookers:
            callback(self.fleet)

    # -- keeping them ------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        tries = 0
        while True:
            self._session = session = await self._db.connect_patiently("lease")
            began = self._db.clock.monotonic()
            self._locked.clear()
            self._unlock.clear()
            session.on_termination(self._changed.set)
            try:
                if self._locks:
                    await session.listen(CHANNEL, self._notified)
                await self._hold(session)
            except DRIVER_ERRORS as error:
                _log.warning("The lease's connection failed: %s", describe(error))
                session.terminate()
                # Only what fails again soon is tried more slowly.
                tries = tries + 1 if self._db.clock.monotonic() - began < _STEADY else 0
                await self._db.pause(tries)

    def _notified(self, payload: str) -> None:
        if not payload and len(self.fences) < self.partitions:
            self._changed.set()  # a lease was given back
        if not payload or self._is_meant(payload):
            self._wake()

    def _is_meant(self, payload: str) -> bool:
        mine = {str(self._engine_id), *map(str, self.fences)}
        return not mine.isdisjoint(payload.split(","))

    def _wake(self) -> None:
        for callback in self._wakers:
            callback()

    async def _hold(self, session: Session) -> None:
        tries = 0
        while not session.closed:
            self._changed.clear()
            pause: float | None = None
            if self._engine_id is not None:
                async with self._busy:
                    if self._joined is not session:
                        await self._join(session, self._engine_id)
                    wanted = await self._wanted(session)
                    if wanted:
                        took = await self._claim(session, self._engine_id, wanted)
                    else:
                        # What is offered to another engine now may be free later, without a word.
                        took = not self._asked or len(self.fences) >= self.partitions
                if took:
                    tries = 0
                else:
                    # A lock that is waited for on the server would hold back vacuum for as long.
                    pause = _LOCK_RETRY[min(tries, len(_LOCK_RETRY) - 1)]
                    tries += 1
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _join(self, session: Session, engine_id: EngineId) -> None:
        """Says that this engine lives, and agrees with those that do on the number of partitions."""
        wanted = self._db.options.partitions
        name = self._db.options.application_name
        count = int(
            await session.fetch_value(statement("engine_join"), engine_id, name, self._schedules) or 1
        )
        if count != wanted:
            count = await self._resize(session, engine_id, wanted)
        self.partitions = count
        self._joined = session
        self._here.set()
        self._wake()

    async def _resize(self, session: Session, engine_id: EngineId, wanted: int) -> int:
        """Changes the number of partitions if no other engine lives; the number that counts."""
        await session.begin()
        count = int(await session.fetch_value(statement("fleet_lock")))
        others = int(await session.fetch_value(statement("fleet_others"), engine_id, self._dead_after))
        if not others:
            await session.fetch(statement("fleet_resize"), wanted)
            count = wanted
        elif count != wanted:
            _log.warning(
                "Tenants are spread over %d partitions, not %d, for as long as other engines run.",
                count,
                wanted,
            )
        await session.commit()
        return count

    async def _wanted(self, session: Session) -> list[int]:
        while self._unlock:
            await session.fetch(statement("lease_unlock"), LOCK_CLASS, self._unlock.pop())
        wanted = [partition for partition in self.fences if partition not in self._locked and self._locks]
        if self._asked and self._engine_id is not None:
            now = self._db.clock.monotonic()
            self._given = {partition: until for partition, until in self._given.items() if until > now}
            free = free_to_take(self.fleet, self._engine_id, self.fences, self.partitions)
            wanted += [partition for partition in free if partition not in self._given]
        return wanted

    @property
    def _asked(self) -> bool:
        """Whether somebody waits for a lease."""
        return self._schedules and self._waiter is not None and not self._waiter.done()

    @property
    def _nobody_waits(self) -> bool:
        """Whether who asked for a lease does not want one any more."""
        return self._waiter is None or self._waiter.cancelled()

    async def _let_go(
        self, session: Session, partition: int, epoch: int, heir: EngineId | None = None
    ) -> None:
        """Leaves a lease to others at once, to `heir` first if named."""
        await session.fetch(statement("lease_released"), partition, epoch, heir)
        if partition in self._locked:
            self._locked.discard(partition)
            await session.fetch(statement("lease_unlock"), LOCK_CLASS, partition)
        await session.fetch(statement("message_notify"), CHANNEL, "")

    async def _claim(self, session: Session, engine_id: EngineId, wanted: list[int]) -> bool:
        """Takes those that are free; whether any was."""
        if self._locks:
            rows = await session.fetch(statement("lease_try_locks"), LOCK_CLASS, wanted)
            # A lock counts how often its session took it: never twice.
            self._locked.update(row[0] for row in rows)
        else:
            rows = await session.fetch(statement("lease_expired"), wanted, engine_id, self._lease_life)
        for row in rows:
            await self._take(session, engine_id, row[0])
        self.tried = True
        return bool(rows)

    async def _take(self, session: Session, engine_id: EngineId, partition: int) -> None:
        """The partition is free: write the epoch, or find that nobody was there in between."""
        began_ns = self._db.clock.now_ns()
        await session.begin()
        rows = await session.fetch(statement("lease_read"), partition)
        before = _Row(rows[0][0], rows[0][1], rows[0][2] is not None) if rows else None
        mine = before is not None and before.engine_id == engine_id
        epoch = 1 if before is None else before.epoch if mine else before.epoch + 1
        fence = self.fences.get(partition)
        if fence is not None and epoch != fence.epoch:
            await session.rollback()
            self.lose(fence)
            return
        if not self._locks and not await session.fetch(
            statement("lease_expired"), [partition], engine_id, self._lease_life
        ):
            await session.rollback()  # another one was faster
            return
        await session.fetch(statement("lease_take"), partition, epoch, engine_id)
        if before is not None and not mine and not before.released:
            await session.fetch(statement("engine_suspect"), before.engine_id, self._dead_after)
        mark = await session.fetch_value(statement("span_mark_read"), partition)
        if mark is None:
            # Of the very first owner nothing has left yet; if it dies at once, the next begins from here.
            await session.fetch(statement("span_mark_set"), partition, self._db.clock.now())
        await session.commit()
        given_up = self._engine_id != engine_id or (fence is None and self._nobody_waits)
        if given_up:  # while this was under way
            await self._let_go(session, partition, epoch)
            return
        if fence is not None:
            return
        self.fences[partition] = Fence(partition, epoch, engine_id)
        _log.info("This engine owns the scheduling of partition %d (epoch %d).", partition, epoch)
        previous = None if before is None or before.engine_id.int == 0 else EngineId(before.engine_id)
        lease = Lease(partition, epoch, previous, mark)
        tracer = self._db.instruments.tracer
        # From when it was free: how long this engine waited for that is no part of it, it may wait for ever.
        tracer.emit(
            T.SPAN_LEASE_ACQUIRE,
            tracer.new_root(),
            began_ns,
            self._db.clock.now_ns(),
            attrs=((T.ATTR_EPOCH, epoch), (T.ATTR_PARTITION, partition)),
        )
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(lease)
        else:
            self._gained.append(lease)
