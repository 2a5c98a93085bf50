"""The statements of one group commit: one a kind, whatever the number of operations."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from broadaxe.domain.idempotency import winners
from broadaxe.domain.schedule import SkipReason
from broadaxe.store.event_ledger import KeyHolder, NewEvent
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
    TASK_COLUMNS,
    attempt_row,
    columns_of,
    event_failure_rows,
    event_link_rows,
    event_row,
    fire_row,
    log_row,
    new_note_rows,
    note_rows,
    scheduled_row,
    skip_row,
    task_of,
    task_row,
    write_row,
)
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange
from broadaxe.store.run_rows import RUN_COLUMNS, WAIT_COLUMNS, met_row, run_row, run_write_row, wait_row
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement

ClaimKey = tuple[UUID, UUID, str]
TenantKey = tuple[UUID, str]


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
        if any(task.key for task in tasks):
            holders |= await self._claim_keys(ops, holders)
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
        await self._free_keys(_freed(writes, changes))
        await self._log([line for op in ops for line in op.lines])
        messages = [message for task in new for message in task.messages]
        messages += [message for write in writes for message in write.messages]
        await self._post(messages + _told(ops, judged))
        answers = iter(judged)
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
                *columns_of(map(task_row, first.values()), TASK_COLUMNS),
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

    async def _claim_keys(self, ops: Sequence[Pending], holders: Mapping[UUID, UUID]) -> dict[UUID, UUID]:
        """Takes idempotency keys; the tasks that lost theirs, by run id, with the run that holds it."""
        first: dict[TenantKey, NewTask | NewRun] = {}
        wanted: dict[UUID, TenantKey] = {}
        for op in ops:
            asking: dict[UUID, NewTask | NewRun] = {
                t.facts.run_id: t for t in op.tasks if t.key and t.facts.run_id not in holders
            }
            for task in asking.values():
                assert task.key is not None
                wanted[task.facts.run_id] = (task.facts.tenant_id, task.key.key)
            best = winners((t.key.key, t.key.expires_at, run) for run, t in asking.items() if t.key)
            for run_id in best.values():
                first.setdefault(wanted[run_id], asking[run_id])
        if not first:
            return {}
        owners = await self._owners(first)
        refused: dict[UUID, UUID] = {
            run: KeyHolder(int=owners[key].int) for run, key in wanted.items() if owners[key] != run
        }
        losers = [task for op in ops for task in op.tasks if task.facts.run_id in refused]
        await self._withdraw(losers)
        await self._unfire(losers)
        return refused

    async def _owners(self, first: Mapping[TenantKey, NewTask | NewRun]) -> dict[TenantKey, UUID]:
        """Whose each key is now."""
        owners: dict[TenantKey, UUID] = {}
        left = dict(first)
        while left:
            taken = await self._take_keys(left)
            owners |= {key: task.facts.run_id for key, task in left.items() if task.facts.run_id in taken}
            lost = [key for key in left if key not in owners]
            if not lost:
                break
            found = await self._session.fetch(
                statement("key_holders"), *columns_of(lost, 2), parent=self._parent, batch=len(lost)
            )
            owners |= {lost[record[0] - 1]: record[1] for record in found}
            # A key that another process freed in between is taken after all.
            left = {key: left[key] for key in lost if key not in owners}
        return owners

    async def _take_keys(self, first: Mapping[TenantKey, NewTask | NewRun]) -> set[UUID]:
        rows = []
        latest = datetime.min.replace(tzinfo=UTC)
        # In the order of their keys, so that two processes never wait for each other in a circle.
        for key in sorted(first):
            facts, claim = first[key].facts, first[key].key
            assert claim is not None
            latest = max(latest, facts.created_at)
            rows.append((*key, facts.run_id, claim.expires_at, claim.until_end))
        taken = await self._session.fetch(
            statement("key_claim_batch"), *columns_of(rows, 5), latest, parent=self._parent, batch=len(rows)
        )
        self.rows += len(taken)
        return {record[0] for record in taken}

    async def _withdraw(self, tasks: Sequence[NewTask | NewRun]) -> None:
        """A child that lost its idempotency key gives its place among its parent's children back."""
        rows = [
            (task.facts.tenant_id, task.claim.parent_task_id, task.claim.key, task.facts.run_id)
            for task in tasks
            if task.claim is not None
        ]
        if rows:
            await self._session.fetch(
                statement("child_claim_withdraw"), *columns_of(rows, 4), parent=self._parent, batch=len(rows)
            )

    async def _unfire(self, tasks: Sequence[NewTask | NewRun]) -> None:
        """A due time whose run lost its idempotency key has no run after all."""
        for cron, name in ((True, "fire_withdraw"), (False, "scheduled_withdraw")):
            rows = [
                (task.facts.tenant_id, task.fire.source_id, task.facts.run_id)
                for task in tasks
                if task.fire is not None and task.fire.cron is cron
            ]
            if rows:
                await self._session.fetch(
                    statement(name), *columns_of(rows, 3), SkipReason.KEY_HELD, parent=self._parent
                )

    async def _free_keys(self, runs: Sequence[UUID]) -> None:
        if runs:
            await self._session.fetch(
                statement("key_release_batch"), list(runs), parent=self._parent, batch=len(runs)
            )

    async def _create(self, new: Sequence[NewTask | NewRun]) -> None:
        runs = [one for one in new if isinstance(one, NewRun)]
        if runs:
            await self._insert(
                "run_create_batch", columns_of((run_row(run.facts) for run in runs), RUN_COLUMNS)
            )
        tasks = [one for one in new if isinstance(one, NewTask)]
        tasks += [task for run in runs for task in run.tasks]
        if tasks:
            await self._insert("task_create_batch", columns_of(map(task_row, tasks), TASK_COLUMNS))

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
        rows = await self._session.fetch(
            statement("task_write_batch"), *columns, parent=self._parent, batch=len(writes)
        )
        self.rows += len(rows)
        kept = [writes[item] for item in sorted(order[row[0] - 1] for row in rows)]
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
