"""The group-commit writer: one connection, one commit for everything that waits.

Natural batching: while a commit is in flight arrivals gather, and a lone operation waits for nobody. Every
transaction of an owner is fenced by the epochs of its leases; what reached an engine that does not own the
tenant has a writer of its own, without fences, that locks and reads what it changes. Each transaction knows
its id, so that after a cut during COMMIT the database can be asked what became of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.store.batch import Batch
from broadaxe.store.commit_trace import CommitTrace
from broadaxe.store.connection import WRITER_SETTINGS, Database
from broadaxe.store.event_ledger import NewEvent
from broadaxe.store.failures import DRIVER_ERRORS, Failure, classify, describe, sqlstate_of
from broadaxe.store.footprint import footprint
from broadaxe.store.ledger import Changed, Fenced, LogLine, NewTask, StoreError, TaskChange, TaskWrite
from broadaxe.store.pending import (
    ROW_OVERHEAD,
    Fence,
    Pending,
    PendingQueue,
    size_of_change,
    size_of_event,
    size_of_task,
    size_of_write,
)
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange
from broadaxe.store.schedule_ledger import SkipRecord
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement
from broadaxe.store.transaction import LeaseLost, Transaction
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.tracer import NOOP

_log = logging.getLogger("broadaxe.store")
_KIND = ((T.LABEL_KIND, "task"),)


class _Refused(Exception):
    """The database refused something in the batch."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _NotCommitted(Exception):
    """The transaction certainly did not commit: the batch goes back to the queue."""


class GroupCommitWriter:
    """Commits operations of the partitions that this engine owns, or (`owns` is None) of any.

    `owns` says what is owned now; `on_fenced` is called when that turns out wrong; `repair` is called when a
    day partition is missing; `posted` is told whom messages were left for.
    """

    def __init__(
        self,
        database: Database,
        owns: Mapping[int, Fence] | None,
        on_fenced: Callable[[Fence], None],
        repair: Callable[[], Awaitable[None]],
        posted: Callable[[Sequence[Record]], None],
    ) -> None:
        options = database.options
        self._db = database
        self._owns = owns
        self._on_fenced = on_fenced
        self._repair = repair
        self._posted = posted
        self._role = "writer" if owns is not None else "writer-elsewhere"
        self._queue = PendingQueue(options.held_max_bytes, options.batch_max_ops, options.batch_max_bytes)
        self._session: Session | None = None
        self._recovery: object = None
        """When the server of this session last recovered from a crash."""
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._tries = 0
        self._answered = False
        """Whether a fault of our own was already told to those whose batch it struck."""

    @property
    def held_bytes(self) -> int:
        """Bytes of all operations that are not answered yet."""
        return self._queue.held_bytes

    # -- submitting ------------------------------------------------------------------------------------

    def create(
        self,
        tasks: Sequence[NewTask | NewRun],
        patience: float | None,
        partition: int | None,
        event: NewEvent | None = None,
    ) -> "asyncio.Future[list[UUID]]":
        """Queues the creation of tasks and runs, and of the event that starts them. `partition`: theirs, None
        when anybody may own it."""
        parents: list[TraceContext] = [
            task.trace for task in tasks if task.trace is not None and task.trace.sampled
        ]
        place = event.place if event is not None else None
        if event is not None and place is not None:
            parents.append(place)
        size = sum(map(size_of_task, tasks)) + (size_of_event(event) if event is not None else 0)
        op = self._pending(size, patience)
        op.tasks, op.count, op.parents, op.event = tasks, len(tasks) + (event is not None), parents, event
        op.partition = partition
        return self._submit(op, None)

    def write(self, write: TaskWrite, lazy: float | None, partition: int) -> "asyncio.Future[bool]":
        """Queues a state change."""
        op = self._pending(size_of_write(write), None)
        op.write, op.partition = write, partition
        if write.trace is not None and write.trace.sampled:
            op.parents = (write.trace,)
        return self._submit(op, lazy)

    def change_run(
        self, change: RunChange, write: TaskWrite | None, partition: int
    ) -> "asyncio.Future[ChangeResult | None]":
        """Queues what an evaluation of a run decided."""
        size = size_of_change(change) + (0 if write is None else size_of_write(write))
        op = self._pending(size, None)
        op.write, op.run_change, op.partition = write, change, partition
        op.count = 1 + len(change.tasks) + len(change.writes)
        trace = change.trace if write is None else write.trace
        op.parents = (trace,) if trace is not None and trace.sampled else ()
        return self._submit(op, None)

    def log(self, lines: Sequence[LogLine], partition: int | None) -> "asyncio.Future[None]":
        """Queues log lines."""
        op = self._pending(sum(ROW_OVERHEAD + len(x.message) + len(x.metadata) for x in lines), None)
        op.lines, op.count, op.partition = lines, len(lines), partition
        return self._submit(op, None)

    def change(self, change: TaskChange, lazy: float | None) -> "asyncio.Future[list[Changed]]":
        """Queues a change of rows that are judged in the commit."""
        op = self._pending(ROW_OVERHEAD * max(1, len(change.ids)), None)
        op.change, op.count = change, max(1, len(change.ids))
        if change.trace is not None and change.trace.sampled:
            op.parents = (change.trace,) if change.ids else ()
        return self._submit(op, lazy)

    def skip(self, skips: Sequence[SkipRecord], partition: int) -> "asyncio.Future[None]":
        """Queues notes of due times that get no run."""
        op = self._pending(ROW_OVERHEAD * len(skips), None)
        op.skips, op.count, op.partition = skips, len(skips), partition
        return self._submit(op, None)

    def _pending(self, size: int, patience: float | None) -> Pending:
        loop = asyncio.get_running_loop()
        longest = self._db.options.held_max_seconds
        patient = patience is None or patience >= longest
        deadline = loop.time() + (longest if patience is None else min(patience, longest))
        return Pending(loop.create_future(), size, self._db.clock.now_ns(), deadline, patient)

    def _submit(self, op: Pending, lazy: float | None) -> "asyncio.Future[Any]":
        if self._owns is not None and op.partition not in self._owns:
            op.fail(Fenced("This engine does not own the scheduling."))
        else:
            try:
                self._queue.put(op, lazy)
            except BroadaxeError as error:
                op.fail(error)
            else:
                self._idle.clear()
        return op.future

    # -- running ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts committing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="store-writer")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("The writer ended by a fault of its own.", exc_info=error)
            self._task = None
            if not self._answered:
                # Nobody's batch is to blame: started again with the same, it would end again at once.
                self._queue.fail_all(lambda: Unavailable("The writer ended by a fault of its own."))
            self._answered = False
            self._settle_idle()
            self.start()

    async def drain(self) -> None:
        """Waits until everything submitted so far is answered."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stops; what still waits is answered Unavailable. Drain first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._queue.fail_all(lambda: Unavailable("This engine is stopping."))
        self._idle.set()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def lose_fence(self, partition: int) -> None:
        """A lease is gone: answer everything that waits for it."""
        self._queue.fail_partition(partition, _fenced)
        self._settle_idle()

    def _settle_idle(self) -> None:
        if not len(self._queue):
            self._idle.set()

    async def _run(self) -> None:
        while True:
            await self._queue.work.wait()
            await self._connected()
            batch = self._queue.take()
            try:
                if batch:
                    await self._settle(batch)
            except BaseException:
                if self._session is not None:
                    self._session.terminate()  # with it, whatever its transaction did so far
                for op in batch:
                    if not op.future.done():
                        self._queue.release(op)
                        op.fail(Unavailable("The writer was cut off."))
                self._answered = bool(batch)
                raise
            self._settle_idle()

    async def _connected(self) -> Session:
        tries = 0
        while self._session is None or self._session.closed:
            session = await self._db.connect_patiently(self._role, WRITER_SETTINGS)
            try:
                self._recovery = await _last_recovery(session)
            except DRIVER_ERRORS:
                session.terminate()
                await self._db.pause(tries)
                tries += 1
            else:
                self._session = session
        return self._session

    async def _settle(self, batch: list[Pending]) -> None:
        """Commits a batch, splitting it where the database refuses something, until each is answered."""
        groups = [batch]
        while groups:
            ops = groups.pop()
            try:
                await self._commit(ops)
            except _NotCommitted:
                rest = [op for group in reversed(groups) for op in group]
                self._queue.give_back(ops + rest)
                return
            except LeaseLost as loss:
                for op in ops:
                    if op.partition in loss.partitions:
                        self._queue.release(op)
                        op.fail(_fenced())
                rest = [op for op in ops if op.partition not in loss.partitions]
                if rest:
                    groups.append(rest)
            except _Refused as refusal:
                if len(ops) > 1:
                    middle = len(ops) // 2
                    groups += [ops[middle:], ops[:middle]]
                    continue
                self._db.metrics.add(T.METRIC_COMMIT_REJECTED, ops[0].count, _KIND)
                self._queue.release(ops[0])
                error = StoreError(f"The database refused this item: {describe(refusal.cause)}")
                error.__cause__ = refusal.cause
                ops[0].fail(error)

    async def _commit(self, ops: list[Pending]) -> None:
        """One transaction for these operations; answers them when it committed."""
        fences = self._fences(ops)
        conflicts = 0
        while True:
            session = await self._connected()
            fence = fences[0] if len(fences) == 1 else None
            trace = CommitTrace(self._db.instruments.tracer, ops, fence, self._db.clock.now_ns())
            began = self._db.clock.monotonic()
            try:
                results, posted = await self._attempt(session, ops, fences, trace)
            except LeaseLost as loss:
                trace.failed("fenced")
                for fence in fences:
                    if fence.partition in loss.partitions:
                        self._on_fenced(fence)
                raise
            except _NotCommitted as error:
                trace.failed("not_committed")
                await self._db.pause(self._tries)
                self._tries += 1
                raise error
            except _Refused as error:
                trace.failed(describe(error.cause))
                if self._is_missing_partition(error.cause) and not conflicts:
                    conflicts += 1
                    await self._repair()
                    continue
                raise
            self._tries = 0
            seconds = self._db.clock.monotonic() - began
            for op, result in zip(ops, results, strict=True):
                self._queue.release(op)
                op.resolve(result)
            trace.committed(self._db.clock.now_ns())
            if posted:
                self._posted(posted)
            self._db.metrics.record(T.METRIC_COMMIT_SIZE, sum(op.count for op in ops), _KIND)
            self._db.metrics.record(T.METRIC_COMMIT_LATENCY, seconds, _KIND)
            return

    def _fences(self, ops: list[Pending]) -> list[Fence]:
        """What the transaction must still find; `LeaseLost` when something is not owned any more."""
        if self._owns is None:
            return []
        partitions = sorted({op.partition for op in ops if op.partition is not None})
        lost = [partition for partition in partitions if partition not in self._owns]
        if lost:
            raise LeaseLost(lost)
        return [self._owns[partition] for partition in partitions]

    @staticmethod
    def _is_missing_partition(error: Exception) -> bool:
        # The server names the routine, whatever language its messages are in.
        return (
            sqlstate_of(error) == "23514"
            and getattr(error, "server_source_function", "") == "ExecFindPartition"
        )

    async def _attempt(
        self, session: Session, ops: list[Pending], fences: list[Fence], trace: CommitTrace
    ) -> tuple[list[object], list[Record]]:
        results: list[object] = []
        committing = False
        transaction = Transaction(session, fences, trace.parent)
        batch = Batch(transaction, self._db.clock.now)
        try:
            await session.begin()
            results = await batch.apply(ops)
            await transaction.hold()  # what wrote nothing is acknowledged under the leases too
            trace.rows = batch.rows
            committing = True
            trace.committing(self._db.clock.now_ns())
            await session.commit(NOOP)  # its time is told by the flush
            return results, batch.posted
        except LeaseLost:
            if not await session.rollback(trace.parent):
                self._session = None
            raise
        except DRIVER_ERRORS as error:
            kind = classify(error)
            if session.closed or kind is Failure.AWAY or committing:
                session.terminate()
                self._session = None
                if sqlstate_of(error) in ("25006", "53100"):
                    self._db.lost(error)
                if (
                    committing
                    and transaction.name is not None
                    and await self._was_committed(transaction.name, session.pid, ops)
                ):
                    return results, batch.posted
                raise _NotCommitted from error
            if not await session.rollback(trace.parent):
                self._session = None
            if kind is Failure.REFUSED:
                raise _Refused(error) from error
            _log.info("A group commit is tried again: %s", describe(error))
            raise _NotCommitted from error
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            # A value that could not even be turned into parameters is refused like one the database refuses.
            if not await session.rollback(trace.parent):
                self._session = None
            raise _Refused(error) from error
        except asyncio.CancelledError:
            session.terminate()
            self._session = None
            raise

    async def _was_committed(self, transaction: str, pid: int, ops: Sequence[Pending]) -> bool:
        """What became of a transaction whose COMMIT was cut; asks until the database knows.

        A server that crashed gives the ids of transactions that it lost to others: then the rows are asked.
        """
        recovery, tries = self._recovery, 0
        while True:
            session = await self._connected()
            try:
                status = await session.fetch_value(statement("transaction_status"), transaction)
                if status == "in progress":
                    # The old backend has not noticed the cut; ended, it can only finish what it began.
                    await session.fetch(statement("backend_terminate"), pid)
                elif status == "committed" and self._recovery != recovery:
                    wrote = statement("transaction_wrote")
                    return bool(await session.fetch_value(wrote, transaction, *footprint(ops)))
                else:
                    return bool(status == "committed")
            except DRIVER_ERRORS as error:
                if classify(error) is Failure.REFUSED:
                    # An id the server never gave: a standby that missed the commit took over.
                    return False
                session.terminate()
                self._session = None
            await self._db.pause(tries)
            tries += 1


async def _last_recovery(session: Session) -> object:
    """When the server last recovered from a crash; None where that is not told."""
    try:
        return await session.fetch_value(statement("server_recovery"))
    except DRIVER_ERRORS as error:
        if classify(error) is not Failure.REFUSED:
            raise
        return None


def _fenced() -> Fenced:
    return Fenced("Another engine owns the scheduling now.")
