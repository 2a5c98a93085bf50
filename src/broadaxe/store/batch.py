"""The statements of one group commit: one a kind, whatever the number of operations."""

from collections.abc import Callable, Container, Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from broadaxe.store.claims import Claims
from broadaxe.store.event_ledger import NewEvent
from broadaxe.store.ledger import (
    Changed,
    LogLine,
    Message,
    MessageKind,
    NewTask,
    TaskChange,
    TaskWrite,
)
from broadaxe.store.messages import put_messages
from broadaxe.store.pending import Pending
from broadaxe.store.rows import (
    TASK_COLUMNS,
    attempt_row,
    columns_of,
    event_failure_rows,
    event_link_rows,
    event_row,
    log_row,
    new_note_rows,
    note_rows,
    task_of,
    task_row,
    write_row,
)
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange
from broadaxe.store.run_rows import RUN_COLUMNS, WAIT_COLUMNS, met_row, run_row, run_write_row, wait_row
from broadaxe.store.session import Record
from broadaxe.store.statements import statement
from broadaxe.store.transaction import Transaction


class Batch:
    """Applies operations inside an open transaction. `rows` counts what was written."""

    def __init__(self, transaction: Transaction, now: Callable[[], datetime]) -> None:
        self._transaction = transaction
        self._now = now
        self.rows = 0
        self.posted: list[Record] = []
        """Whom messages were left for."""

    async def apply(self, ops: Sequence[Pending]) -> list[object]:
        """The result of each operation, to be told once the transaction is committed."""
        tasks = [task for op in ops for task in op.tasks]
        claims = Claims(self._transaction, self._now)
        holders = await claims.take(ops, tasks)
        new = [task for task in tasks if task.facts.run_id not in holders]
        await self._create(new)
        await self._add_events([op.event for op in ops if op.event is not None], holders)
        refused = await self._reopen(
            [op.run_change for op in ops if op.run_change is not None and op.run_change.reopen]
        )
        active = [op for op in ops if op.run_change is None or op.run_change.run_id not in refused]
        judged = await self._judge([op.change for op in ops if op.change is not None])
        decided = [
            _write_of(op.change, one)
            for op, some in zip([op for op in ops if op.change is not None], judged, strict=True)
            for one in some
            if op.change is not None and one.decision is not None
        ]
        held = await self._write_all(active, decided)
        changes = [
            op.run_change
            for op in active
            if op.run_change is not None and (op.write is None or op.write.task_id in held)
        ]
        created = await self._change(changes, [one for one in new if isinstance(one, NewRun)])
        writes = [op.write for op in ops if op.write is not None and op.write.task_id in held] + decided
        await claims.free_keys(_freed(writes, changes))
        await self._log([line for op in ops for line in op.lines])
        messages = [message for task in new for message in task.messages]
        messages += [message for write in writes for message in write.messages]
        await self._post(messages + _told(ops, judged))
        answers = iter(judged)
        self.rows += claims.rows
        return [
            next(answers) if op.change is not None else self._result(op, refused, holders, held, created)
            for op in ops
        ]

    @staticmethod
    def _result(
        op: Pending,
        refused: set[UUID],
        holders: dict[UUID, UUID],
        held: set[UUID],
        created: set[UUID],
    ) -> object:
        own = op.write is None or op.write.task_id in held
        if op.run_change is not None:
            if op.run_change.run_id in refused or not own:
                return None
            mine = frozenset(task.facts.id for task in op.run_change.tasks) & created
            created -= mine
            return ChangeResult(mine, frozenset(write.task_id for write in op.run_change.writes) & held)
        if op.write is not None:
            return own
        if op.tasks or op.event is not None:
            return [holders.get(task.facts.run_id, task.facts.run_id) for task in op.tasks]
        return None

    async def _write_all(self, ops: Sequence[Pending], decided: Sequence[TaskWrite]) -> set[UUID]:
        """All state changes; the tasks whose compare held. No task is in a batch twice."""
        writes = [*(op.write for op in ops if op.write is not None), *decided]
        # A step that follows from a write has to wait for what becomes of it.
        writes += [
            w for op in ops if op.run_change is not None and op.write is None for w in op.run_change.writes
        ]
        held = await self._write(writes)
        behind = [
            write
            for op in ops
            if op.run_change is not None and op.write is not None and op.write.task_id in held
            for write in op.run_change.writes
        ]
        return held | await self._write(behind)

    async def _reopen(self, changes: Sequence[RunChange]) -> set[UUID]:
        """Opens runs that are over; those that were not."""
        if not changes:
            return set()
        rows = await self._transaction.fetch(
            statement("run_write_batch"),
            *columns_of(map(run_write_row, changes), 4),
            batch=len(changes),
        )
        self.rows += len(rows)
        opened = {row[0] for row in rows}
        return {change.run_id for change in changes if change.run_id not in opened}

    async def _change(self, changes: Sequence[RunChange], new: Sequence[NewRun]) -> set[UUID]:
        """Steps, waits and ends; the tasks that were created."""
        first: dict[UUID, NewTask] = {}
        for change in changes:
            for task in change.tasks:
                first.setdefault(task.facts.id, task)
        created: set[UUID] = set()
        if first:
            created = set(
                await self._transaction.write(
                    "step_create_batch", columns_of(map(task_row, first.values()), TASK_COLUMNS)
                )
            )
            self.rows += len(created)
            notes = [
                row for task in first.values() if task.facts.id in created for row in new_note_rows(task)
            ]
            if notes:
                await self._insert("note_add_batch", columns_of(notes, 6))
        opened = [wait_row(change.tenant_id, wait) for change in changes for wait in change.opened]
        opened += [wait_row(run.facts.tenant_id, wait) for run in new for wait in run.waits]
        if opened:
            await self._insert("wait_open_batch", columns_of(opened, WAIT_COLUMNS))
        met = [met_row(one) for change in changes for one in change.met]
        if met:
            await self._insert("wait_meet_batch", columns_of(met, 6))
        ended = [change for change in changes if change.end is not None]
        if ended:
            await self._transaction.fetch(
                statement("run_write_batch"),
                *columns_of(map(run_write_row, ended), 4),
                batch=len(ended),
            )
            self.rows += len(ended)
        return created

    async def _judge(self, changes: Sequence[TaskChange]) -> list[list[Changed]]:
        """Locks the rows that changes are about, in the order of their ids, and judges each as it is."""
        wanted = sorted({(task_id, change.tenant_id) for change in changes for task_id in change.ids})
        if not wanted:
            return [[] for _ in changes]
        rows = await self._transaction.fetch(
            statement("task_lock_batch"),
            [tenant_id for _, tenant_id in wanted],
            [task_id for task_id, _ in wanted],
            batch=len(wanted),
        )
        stored = {(row["tenant_id"], row["id"]): task_of(row) for row in rows}
        answer: list[list[Changed]] = []
        for change in changes:
            found = [stored.get((change.tenant_id, task_id)) for task_id in change.ids]
            answer.append([Changed(task, change.judge(task)) for task in found if task is not None])
        return answer

    async def _post(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._transaction.hold()
            self.posted += await put_messages(self._transaction.session, messages, self._transaction.parent)
            self.rows += len(messages)

    async def _insert(self, name: str, columns: list[list[object]]) -> None:
        await self._transaction.fetch(statement(name), *columns, batch=len(columns[0]))
        self.rows += len(columns[0])

    async def _create(self, new: Sequence[NewTask | NewRun]) -> None:
        runs = [one for one in new if isinstance(one, NewRun)]
        if runs:
            rows = columns_of((run_row(run.facts) for run in runs), RUN_COLUMNS)
            await self._transaction.insert("run_create_batch", rows)
            self.rows += len(runs)
        tasks = [one for one in new if isinstance(one, NewTask)]
        tasks += [task for run in runs for task in run.tasks]
        if tasks:
            await self._transaction.insert(
                "task_create_batch", columns_of(map(task_row, tasks), TASK_COLUMNS)
            )
            self.rows += len(tasks)

    async def _add_events(self, events: Sequence[NewEvent], missing: Container[UUID]) -> None:
        if not events:
            return
        await self._insert("event_add_batch", columns_of(map(event_row, events), 9))
        links = [row for new in events for row in event_link_rows(new, missing)]
        if links:
            await self._insert("event_run_add_batch", columns_of(links, 4))
        failures = [row for new in events for row in event_failure_rows(new)]
        if failures:
            await self._insert("event_failure_add_batch", columns_of(failures, 6))

    async def _write(self, writes: Sequence[TaskWrite]) -> set[UUID]:
        """The tasks whose compare held. Rows are changed in the order of their ids, as everywhere."""
        if not writes:
            return set()
        order = sorted(range(len(writes)), key=lambda item: writes[item].task_id)
        columns = columns_of((write_row(writes[item]) for item in order), 22)
        items = await self._transaction.write("task_write_batch", columns)
        self.rows += len(items)
        kept = [writes[item] for item in sorted(order[item - 1] for item in items)]
        await self._keep_history(kept)
        return {write.task_id for write in kept}

    async def _keep_history(self, kept: Sequence[TaskWrite]) -> None:
        ended = [attempt_row(write, write.record) for write in kept if write.record is not None]
        if ended:
            await self._insert("attempt_add_batch", columns_of(ended, 11))
        notes = [row for write in kept for row in note_rows(write)]
        if notes:
            await self._insert("note_add_batch", columns_of(notes, 6))

    async def _log(self, lines: Sequence[LogLine]) -> None:
        if lines:
            await self._insert("log_add_batch", columns_of(map(log_row, lines), 7))


def _freed(writes: Sequence[TaskWrite], changes: Sequence[RunChange]) -> list[UUID]:
    """Runs that are over and held their idempotency key until then."""
    freed: list[UUID] = [write.frees_key_of for write in writes if write.frees_key_of is not None]
    return freed + [change.run_id for change in changes if change.end is not None and change.frees_key]


def _write_of(change: TaskChange, changed: Changed) -> TaskWrite:
    """The write of a judged row, which is locked."""
    facts, status, decision = changed.before.facts, changed.before.status, changed.decision
    assert decision is not None
    freed = change.freed(changed.before, decision.status)
    return TaskWrite(
        facts.tenant_id,
        facts.id,
        status.attempt,
        status.state,
        decision.status,
        decision.record,
        decision.notes,
        frees_key_of=freed,
    )


def _told(ops: Sequence[Pending], judged: list[list[Changed]]) -> list[Message]:
    """For the owners: the rows that were created and changed elsewhere, an operation a message."""
    told: list[Message] = []
    changes = iter(judged)
    for op in ops:
        if op.change is not None:
            done = [one for one in next(changes) if one.decision is not None]
            ids: list[UUID] = [one.before.facts.id for one in done]
            stops = [
                (one.before.facts.id, one.decision.cancel.worker_id, one.decision.cancel.attempt)
                for one in done
                if one.decision is not None and one.decision.cancel is not None
            ]
            tenant_id, trace = op.change.tenant_id, op.change.trace
        elif op.tasks and op.partition is None:
            ids, stops = list(_ids(op.tasks)), []
            tenant_id, trace = op.tasks[0].facts.tenant_id, op.tasks[0].trace
        else:
            continue
        if ids:
            body = msgspec.json.encode({"ids": ids, "stops": stops})
            told.append(Message(tenant_id, MessageKind.ROWS_CHANGED, body, trace))
    return told


def _ids(tasks: "Sequence[NewTask | NewRun]") -> Iterator[UUID]:
    for task in tasks:
        yield task.facts.id
