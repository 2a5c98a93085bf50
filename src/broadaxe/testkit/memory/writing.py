"""Writes of tasks and runs in memory: compare-and-set, and claims, as the database has them."""

from asyncio import Future
from collections.abc import Sequence
from uuid import UUID

import msgspec

from broadaxe.domain.idempotency import winners
from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import RunEnd
from broadaxe.store.event_ledger import KeyHolder, NewEvent
from broadaxe.store.ledger import (
    Changed,
    LogLine,
    Message,
    MessageKind,
    NewTask,
    StoredTask,
    TaskChange,
    TaskWrite,
)
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange, StoredRun, StoredWait
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.testkit.memory.commits import MemoryCommits


class MemoryWriting(MemoryCommits):
    """The operations that join a commit."""

    def create_tasks(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Create tasks, runs and their event; the claims of the first."""
        items = list(tasks)
        return self._submit(items, lambda: self._create_all(items, event))

    def write_task(self, write: TaskWrite, *, lazy: float | None = None) -> "Future[bool]":
        """Compare and set."""
        return self._submit([write], lambda: self._write(write))

    def change_run(self, change: RunChange, write: TaskWrite | None = None) -> "Future[ChangeResult | None]":
        """What follows from an evaluation, and from a task's write if there is one."""
        return self._submit([change if write is None else write], lambda: self._change(change, write))

    def create_elsewhere(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Create tasks without the lease."""
        items = list(tasks)

        def create() -> list[UUID]:
            made = self._create_all(items, event)
            if items:
                self._changed(items[0].facts.tenant_id, [task.facts.id for task in items])
            return made

        return self._submit(items, create, fenced=False)

    def change_elsewhere(self, change: TaskChange, *, lazy: float | None = None) -> "Future[list[Changed]]":
        """Judge rows as they are, and write what follows."""

        def judge() -> list[Changed]:
            found: list[Changed] = []
            for task_id in change.ids:
                stored = self.tables.tasks.get(task_id)
                if stored is None or stored.facts.tenant_id != change.tenant_id:
                    continue
                decision = change.judge(stored)
                found.append(Changed(stored, decision))
                if decision is not None:
                    write = TaskWrite(
                        change.tenant_id,
                        stored.facts.id,
                        stored.status.attempt,
                        stored.status.state,
                        decision.status,
                        decision.record,
                        decision.notes,
                        frees_key_of=change.freed(stored, decision.status),
                    )
                    assert self._write(write)
            changed = [one.before.facts.id for one in found if one.decision is not None]
            if changed:
                self._changed(change.tenant_id, changed)
            return found

        return self._later(judge)

    def add_log_lines(self, lines: Sequence[LogLine], *, owned: bool = True) -> "Future[None]":
        """Store log lines."""
        return self._later(lambda: self.tables.logs.extend(lines))

    def record_skips(self, skips: Sequence[SkipRecord]) -> "Future[None]":
        """Note due times that get no run."""
        return self._later(lambda: self.schedules.skip(skips))

    def post(self, messages: Sequence[Message]) -> "Future[None]":
        """Leave messages."""
        return self._later(lambda: self._leave(messages))

    def _changed(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        body = msgspec.json.encode({"ids": list(ids)})
        self._leave([Message(tenant_id, MessageKind.ROWS_CHANGED, body)])

    def _create_all(self, tasks: list[NewTask | NewRun], event: NewEvent | None) -> list[UUID]:
        claims = ((t.key.key, t.key.expires_at, t.facts.run_id) for t in tasks if t.key is not None)
        best = winners(claims)
        # The one that takes a key goes first; the others then meet it.
        first = sorted(tasks, key=lambda t: t.key is not None and best[t.key.key] != t.facts.run_id)
        created = {task.facts.id: self._create(task) for task in first}
        if event is not None:
            self.tables.events[event.event.id] = event
            born = set(created.values())
            self.tables.links[event.event.id] = [link for link in event.links if link.run_id in born]
        return [created[task.facts.id] for task in tasks]

    def _create(self, task: NewTask | NewRun) -> UUID:
        facts = task.facts
        if task.fire is not None and not self.schedules.claim(task):
            return NOBODY
        if task.key is not None:
            place = (facts.tenant_id, task.key.key)
            held = self.tables.keys.get(place)
            if held is not None and held[0].expires_at > facts.created_at:
                return KeyHolder(int=held[1].int)
            self.tables.keys[place] = (task.key, facts.run_id)
        if task.claim is not None:
            holder = self.tables.claims.setdefault((facts.tenant_id, task.claim), facts.run_id)
            if holder != facts.run_id:
                return holder
        if isinstance(task, NewRun):
            self.tables.runs[facts.id] = StoredRun(task.facts, None)
            for one in task.tasks:
                self._insert(one)
            for wait in task.waits:
                self.tables.waits[(wait.run_id, wait.step, wait.item)] = StoredWait(wait, None, None)
        else:
            self._insert(task)
        self._leave(task.messages)
        return facts.run_id

    def _insert(self, task: NewTask) -> None:
        facts = task.facts
        self.tables.tasks[facts.id] = StoredTask(facts, task.status)
        if task.notes:
            self.tables.notes.setdefault(facts.id, []).extend(task.notes)
        self.tables.history.append((facts.id, task.status.state, task.status.attempt))

    def _change(self, change: RunChange, write: TaskWrite | None) -> ChangeResult | None:
        tables = self.tables
        stored = tables.runs[change.run_id]
        if change.reopen:
            if stored.end is None:
                return None
            tables.runs[change.run_id] = StoredRun(stored.facts, None)
        if write is not None and not self._write(write):
            return None
        written = frozenset(one.task_id for one in change.writes if self._write(one))
        created = [task for task in change.tasks if task.facts.id not in tables.tasks]
        for task in created:
            self._insert(task)
        for wait in change.opened:
            key = (wait.run_id, wait.step, wait.item)
            before = tables.waits.get(key)
            if before is None or before.wait.attempt < wait.attempt:
                tables.waits[key] = StoredWait(wait, None, None)
        for met in change.met:
            key = (met.run_id, met.step, met.item)
            one = tables.waits.get(key)
            if one is not None and one.met_at is None and one.wait.attempt == met.attempt:
                tables.waits[key] = StoredWait(one.wait, met.at, met.data)
        if change.end is not None and tables.runs[change.run_id].end is None:
            end = RunEnd(change.end.state, change.end.at)
            tables.runs[change.run_id] = StoredRun(stored.facts, end)
        return ChangeResult(frozenset(task.facts.id for task in created), written)

    def _write(self, write: TaskWrite) -> bool:
        stored = self.tables.tasks.get(write.task_id)
        if stored is None or stored.facts.tenant_id != write.tenant_id:
            return False
        status, expect = stored.status, write.expect
        if (status.attempt, status.state) != (write.expect_attempt, write.expect_state):
            return False
        if expect is not None and (status.started_at, status.timeout_at, status.slot_released) != (
            expect.started_at,
            expect.timeout_at,
            expect.slot_released,
        ):
            return False
        self._leave(write.messages)
        self.tables.tasks[write.task_id] = StoredTask(stored.facts, write.status)
        self.tables.history.append((write.task_id, write.status.state, write.status.attempt))
        if write.record is not None:
            self.tables.attempts.setdefault(write.task_id, []).append(write.record)
        self.tables.notes.setdefault(write.task_id, []).extend(write.notes)
        for place, (held, run_id) in list(self.tables.keys.items()):
            if held.until_end and run_id == write.frees_key_of:
                del self.tables.keys[place]
        return True
