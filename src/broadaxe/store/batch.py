"""The statements of one group commit: one a kind, whatever the number of operations."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from broadaxe.store.instruments import Parent
from broadaxe.store.ledger import LogLine, NewTask, TaskWrite
from broadaxe.store.pending import Pending
from broadaxe.store.rows import (
    attempt_row,
    columns_of,
    fire_row,
    log_row,
    new_note_rows,
    note_rows,
    scheduled_row,
    skip_row,
    task_row,
    write_row,
)
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange
from broadaxe.store.run_rows import RUN_COLUMNS, WAIT_COLUMNS, met_row, run_row, run_write_row, wait_row
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.store.session import Session
from broadaxe.store.statements import statement

ClaimKey = tuple[UUID, UUID, str]


class Batch:
    """Applies operations inside an open transaction. `rows` counts what was written."""

    def __init__(self, session: Session, parent: Parent, now: Callable[[], datetime]) -> None:
        self._session = session
        self._parent = parent
        self._now = now
        self.rows = 0

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
        new = [task for task in tasks if task.facts.run_id not in holders]
        await self._create(new)
        refused = await self._reopen([op.change for op in ops if op.change is not None and op.change.reopen])
        active = [op for op in ops if op.change is None or op.change.run_id not in refused]
        held = await self._write_all(active)
        changes = [
            op.change
            for op in active
            if op.change is not None and (op.write is None or op.write.task_id in held)
        ]
        created = await self._change(changes, [one for one in new if isinstance(one, NewRun)])
        await self._log([line for op in ops for line in op.lines])
        return [self._result(op, refused, holders, held, created) for op in ops]

    @staticmethod
    def _result(
        op: Pending,
        refused: set[UUID],
        holders: dict[UUID, UUID],
        held: set[UUID],
        created: set[UUID],
    ) -> object:
        own = op.write is None or op.write.task_id in held
        if op.change is not None:
            if op.change.run_id in refused or not own:
                return None
            mine = frozenset(task.facts.id for task in op.change.tasks) & created
            created -= mine
            return ChangeResult(mine, frozenset(write.task_id for write in op.change.writes) & held)
        if op.write is not None:
            return own
        if op.tasks:
            return [holders.get(task.facts.run_id, task.facts.run_id) for task in op.tasks]
        return None

    async def _write_all(self, ops: Sequence[Pending]) -> set[UUID]:
        """All state changes; the tasks whose compare held. No task is in a batch twice."""
        writes = [op.write for op in ops if op.write is not None]
        # A step that follows from a write has to wait for what becomes of it.
        writes += [w for op in ops if op.change is not None and op.write is None for w in op.change.writes]
        held = await self._write(writes)
        behind = [
            write
            for op in ops
            if op.change is not None and op.write is not None and op.write.task_id in held
            for write in op.change.writes
        ]
        return held | await self._write(behind)

    async def _reopen(self, changes: Sequence[RunChange]) -> set[UUID]:
        """Opens runs that are over; those that were not."""
        if not changes:
            return set()
        rows = await self._session.fetch(
            statement("run_write_batch"),
            *columns_of(map(run_write_row, changes), 4),
            parent=self._parent,
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
            rows = await self._session.fetch(
                statement("step_create_batch"),
                *columns_of(map(task_row, first.values()), 31),
                parent=self._parent,
                batch=len(first),
            )
            self.rows += len(rows)
            created = {row[0] for row in rows}
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
            await self._session.fetch(
                statement("run_write_batch"),
                *columns_of(map(run_write_row, ended), 4),
                parent=self._parent,
                batch=len(ended),
            )
            self.rows += len(ended)
        return created

    async def _insert(self, name: str, columns: list[list[object]]) -> None:
        await self._session.fetch(statement(name), *columns, parent=self._parent, batch=len(columns[0]))
        self.rows += len(columns[0])

    async def _fire(self, tasks: Sequence[NewTask | NewRun], skips: Sequence[SkipRecord]) -> dict[UUID, UUID]:
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

    async def _claim(self, tasks: Sequence[NewTask | NewRun]) -> dict[UUID, UUID]:
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

    async def _create(self, new: Sequence[NewTask | NewRun]) -> None:
        runs = [one for one in new if isinstance(one, NewRun)]
        if runs:
            await self._insert(
                "run_create_batch", columns_of((run_row(run.facts) for run in runs), RUN_COLUMNS)
            )
        tasks = [one for one in new if isinstance(one, NewTask)]
        tasks += [task for run in runs for task in run.tasks]
        if tasks:
            await self._insert("task_create_batch", columns_of(map(task_row, tasks), 31))

    async def _write(self, writes: Sequence[TaskWrite]) -> set[UUID]:
        if not writes:
            return set()
        columns = columns_of(map(write_row, writes), 18)
        rows = await self._session.fetch(
            statement("task_write_batch"), *columns, parent=self._parent, batch=len(writes)
        )
        self.rows += len(rows)
        items = {row[0] for row in rows}
        kept = [write for item, write in enumerate(writes, 1) if item in items]
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
