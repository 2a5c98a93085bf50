"""The statements of one group commit: one a kind, whatever the number of operations."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from broadaxe.store.instruments import Parent
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
    attempt_row,
    columns_of,
    fire_row,
    log_row,
    note_rows,
    scheduled_row,
    skip_row,
    task_of,
    task_row,
    write_row,
)
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement

ClaimKey = tuple[UUID, UUID, str]


class Batch:
    """Applies operations inside an open transaction. `rows` counts what was written."""

    def __init__(self, session: Session, parent: Parent, now: Callable[[], datetime]) -> None:
        self._session = session
        self._parent = parent
        self._now = now
        self.rows = 0
        self.posted: list[Record] = []
        """Whom messages were left for."""

    async def apply(self, ops: Sequence[Pending]) -> list[object]:
        """The result of each operation, to be told once the transaction is committed."""
        tasks = [task for op in ops for task in op.tasks]
        skips = [skip for op in ops for skip in op.skips]
        holders: dict[UUID, UUID] = {}
        if skips or any(task.fire for task in tasks):
            holders = await self._fire([task for task in tasks if task.fire is not None], skips)
        claiming = [task for task in tasks if task.claim and task.facts.run_id not in holders]
        if claiming:
            holders |= await self._claim(claiming)
        created = [task for task in tasks if task.facts.run_id not in holders]
        await self._create(created)
        judged = await self._judge([op.change for op in ops if op.change is not None])
        writes = [op.write for op in ops if op.write is not None]
        decided = [_write_of(one) for some in judged for one in some if one.decision is not None]
        held = await self._write([*writes, *decided]) if writes or decided else set()
        kept = [write for item, write in enumerate(writes) if item in held] + decided
        await self._keep_history(kept)
        await self._log([line for op in ops for line in op.lines])
        messages = [message for task in created for message in task.messages]
        messages += [message for write in kept for message in write.messages]
        await self._post(messages + _told(ops, judged))
        return self._results(ops, holders, held, judged)

    @staticmethod
    def _results(
        ops: Sequence[Pending], holders: dict[UUID, UUID], held: set[int], judged: list[list[Changed]]
    ) -> list[object]:
        results: list[object] = []
        item = 0
        changes = iter(judged)
        for op in ops:
            if op.write is not None:
                results.append(item in held)
                item += 1
            elif op.tasks:
                runs = [task.facts.run_id for task in op.tasks]
                results.append([holders.get(run, run) for run in runs])
            elif op.change is not None:
                results.append(next(changes))
            else:
                results.append(None)
        return results

    async def _judge(self, changes: Sequence[TaskChange]) -> list[list[Changed]]:
        """Locks the rows that changes are about, in the order of their ids, and judges each as it is."""
        wanted = sorted({(task_id, change.tenant_id) for change in changes for task_id in change.ids})
        if not wanted:
            return [[] for _ in changes]
        rows = await self._session.fetch(
            statement("task_lock_batch"),
            [tenant_id for _, tenant_id in wanted],
            [task_id for task_id, _ in wanted],
            parent=self._parent,
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
            self.posted += await put_messages(self._session, messages, self._parent)
            self.rows += len(messages)

    async def _insert(self, name: str, columns: list[list[object]]) -> None:
        await self._session.fetch(statement(name), *columns, parent=self._parent, batch=len(columns[0]))
        self.rows += len(columns[0])

    async def _fire(self, tasks: Sequence[NewTask], skips: Sequence[SkipRecord]) -> dict[UUID, UUID]:
        """Takes due times and notes the skipped; what was not to be had, by run id, answered with nobody."""
        taken: set[UUID] = set()
        for cron, name, width in ((True, "fire_claim_batch", 6), (False, "scheduled_claim_batch", 5)):
            rows = [fire_row(task) for task in tasks if task.fire is not None and task.fire.cron is cron]
            rows += [skip_row(skip) for skip in skips if skip.cron is cron]
            if not rows:
                continue
            # In the order of their keys, so that two processes never wait for each other in a circle.
            rows.sort(key=lambda row: row[:3])
            columns = columns_of(rows if cron else [scheduled_row(row) for row in rows], width)
            found = await self._session.fetch(
                statement(name),
                *columns,
                *(() if cron else (self._now(),)),
                parent=self._parent,
                batch=len(rows),
            )
            self.rows += len(found)
            taken |= {record[0] for record in found}
        return {task.facts.run_id: NOBODY for task in tasks if task.facts.run_id not in taken}

    async def _claim(self, tasks: Sequence[NewTask]) -> dict[UUID, UUID]:
        """Takes the keys; those of `tasks` that lost theirs, by run id, with the run that holds it."""
        first: dict[ClaimKey, UUID] = {}
        wanted: dict[UUID, ClaimKey] = {}
        for task in tasks:
            if task.claim is not None:
                key = (task.facts.tenant_id, task.claim.parent_task_id, task.claim.key)
                wanted[task.facts.run_id] = key
                first.setdefault(key, task.facts.run_id)
        # In the order of their keys, so that two processes never wait for each other in a circle.
        rows = [(*key, first[key]) for key in sorted(first)]
        columns = columns_of(rows, 4)
        taken = await self._session.fetch(
            statement("child_claim_batch"), *columns, parent=self._parent, batch=len(rows)
        )
        self.rows += len(taken)
        free = {record[0] for record in taken}
        lost = [key for key, run in first.items() if run not in free]
        if lost:
            found = await self._session.fetch(
                statement("child_claim_holders"), *columns_of(lost, 3), parent=self._parent, batch=len(lost)
            )
            for record in found:
                first[lost[record[0] - 1]] = record[1]
        return {run: first[key] for run, key in wanted.items() if first[key] != run}

    async def _create(self, tasks: Sequence[NewTask]) -> None:
        if tasks:
            await self._insert("task_create_batch", columns_of(map(task_row, tasks), 31))

    async def _write(self, writes: Sequence[TaskWrite]) -> set[int]:
        """Which held, by their place. Rows are changed in the order of their ids, as everywhere."""
        order = sorted(range(len(writes)), key=lambda item: writes[item].task_id)
        columns = columns_of((write_row(writes[item]) for item in order), 22)
        rows = await self._session.fetch(
            statement("task_write_batch"), *columns, parent=self._parent, batch=len(writes)
        )
        self.rows += len(rows)
        return {order[row[0] - 1] for row in rows}

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


def _write_of(changed: Changed) -> TaskWrite:
    """The write of a judged row, which is locked."""
    facts, status, decision = changed.before.facts, changed.before.status, changed.decision
    assert decision is not None
    return TaskWrite(
        facts.tenant_id,
        facts.id,
        status.attempt,
        status.state,
        decision.status,
        decision.record,
        decision.notes,
    )


def _told(ops: Sequence[Pending], judged: list[list[Changed]]) -> list[Message]:
    """For the owners: the rows that were created and changed elsewhere, an operation a message."""
    told: list[Message] = []
    changes = iter(judged)
    for op in ops:
        if op.change is not None:
            done = [one for one in next(changes) if one.decision is not None]
            ids = [one.before.facts.id for one in done]
            stops = [
                (one.before.facts.id, one.decision.cancel.worker_id, one.decision.cancel.attempt)
                for one in done
                if one.decision is not None and one.decision.cancel is not None
            ]
            tenant_id, trace = op.change.tenant_id, op.change.trace
        elif op.tasks and op.partition is None:
            ids, stops = [task.facts.id for task in op.tasks], []
            tenant_id, trace = op.tasks[0].facts.tenant_id, op.tasks[0].trace
        else:
            continue
        if ids:
            body = msgspec.json.encode({"ids": ids, "stops": stops})
            told.append(Message(tenant_id, MessageKind.ROWS_CHANGED, body, trace))
    return told
