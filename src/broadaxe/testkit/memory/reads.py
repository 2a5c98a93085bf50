"""Reads of tasks and runs in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TaskId, TenantId
from broadaxe.domain.metadata import matches
from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import AttemptOutcome, TaskFacts, TaskFilter, TaskState
from broadaxe.store.ledger import EndedAttempt, StoredTask
from broadaxe.store.run_ledger import StoredRun, WholeRun
from broadaxe.testkit.memory.commits import MemoryCommits

_PAGE = 500


class MemoryReads(MemoryCommits):
    """The operations that read tasks and runs."""

    async def get_task(self, tenant_id: TenantId, task_id: UUID) -> StoredTask | None:
        """One task."""
        self.reads += 1
        await self._reach()
        stored = self.tables.tasks.get(task_id)
        return stored if stored is not None and stored.facts.tenant_id == tenant_id else None

    async def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredTask]:
        """Tasks by task id or run id."""
        self.reads += 1
        await self._reach()
        wanted = set(ids)
        return [
            stored
            for stored in self.tables.tasks.values()
            if stored.facts.tenant_id == tenant_id and {stored.facts.id, stored.facts.run_id} & wanted
        ]

    async def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> list[tuple[TaskId, TaskState]]:
        """Newest first."""
        await self._reach()
        found = [
            (stored.facts.id, stored.status.state)
            for stored in self.tables.tasks.values()
            if stored.facts.tenant_id == tenant_id and _fits(stored.facts, stored.status.state, where)
        ]
        return sorted(found, reverse=True)[:limit]

    async def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by task id."""
        self.reads += 1
        await self._reach()
        return {
            task_id: self.tables.tasks[task_id].facts.input for task_id in ids if task_id in self.tables.tasks
        }

    async def load_live_tasks(self, partition: int | None = None) -> AsyncIterator[list[StoredTask]]:
        """Oldest first."""
        live = sorted(
            (stored for stored in self.tables.tasks.values() if not stored.status.state.final),
            key=lambda stored: stored.facts.id,
        )
        for at in range(0, len(live), _PAGE):
            await asyncio.sleep(0)
            yield live[at : at + _PAGE]

    async def load_finished_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[StoredTask]]:
        """What became final since then."""
        await asyncio.sleep(0)
        yield [
            stored
            for stored in self.tables.tasks.values()
            if stored.status.finished_at is not None and stored.status.finished_at >= at
        ]

    async def load_attempts_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[EndedAttempt]]:
        """What ended since then while its task went on."""
        await asyncio.sleep(0)
        yield [
            EndedAttempt(
                self.tables.tasks[task_id].facts,
                record,
                all(
                    earlier.outcome < AttemptOutcome.REPLAYED_COMPLETED
                    for earlier in records
                    if earlier.attempt < record.attempt
                ),
            )
            for task_id, records in self.tables.attempts.items()
            for record in records
            if record.ended_at >= at
        ]

    # -- runs of several steps --------------------------------------------------------------------------

    async def get_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredRun]:
        """By id."""
        self.reads += 1
        await self._reach()
        found = [self.tables.runs[one] for one in ids if one in self.tables.runs]
        return [run for run in found if run.facts.tenant_id == tenant_id]

    async def get_whole_run(self, tenant_id: TenantId, run_id: UUID) -> WholeRun | None:
        """A run with its tasks and waits."""
        runs = await self.get_runs(tenant_id, [run_id])
        return self._whole(runs[0]) if runs else None

    def _whole(self, run: StoredRun) -> WholeRun:
        run_id = run.facts.id
        tasks = [task for task in self.tables.tasks.values() if task.facts.run_id == run_id]
        waits = [wait for key, wait in self.tables.waits.items() if key[0] == run_id]
        return WholeRun(run, tuple(tasks), tuple(waits))

    async def find_runs(self, tenant_id: TenantId, where: TaskFilter, limit: int) -> list[StoredRun]:
        """Newest first."""
        await self._reach()
        found = [
            run
            for run in self.tables.runs.values()
            if run.facts.tenant_id == tenant_id
            and _fits(run.facts, TaskState.ASSIGNED if run.end is None else run.end.state, where)
        ]
        return sorted(found, key=lambda run: run.facts.id, reverse=True)[:limit]

    async def load_outputs(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[bytes | None, bytes | None]]:
        """Output and error by task id."""
        self.reads += 1
        await self._reach()
        found = {one: self.tables.tasks[one].status for one in task_ids if one in self.tables.tasks}
        return {task_id: (status.output, status.error) for task_id, status in found.items()}

    async def load_run_inputs(self, tenant_id: TenantId, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by run id."""
        self.reads += 1
        await self._reach()
        return {one: self.tables.runs[one].facts.input for one in run_ids if one in self.tables.runs}

    async def load_live_runs(self) -> AsyncIterator[list[WholeRun]]:
        """Oldest first."""
        await asyncio.sleep(0)
        live = [run for run in self.tables.runs.values() if run.end is None]
        yield [self._whole(run) for run in sorted(live, key=lambda run: run.facts.id)]

    async def load_ended_runs_since(self, at: datetime) -> AsyncIterator[list[StoredRun]]:
        """What ended since then."""
        await asyncio.sleep(0)
        yield [run for run in self.tables.runs.values() if run.end is not None and run.end.at >= at]


def _fits(facts: TaskFacts | RunFacts, state: TaskState, where: TaskFilter) -> bool:
    return (
        facts.created_at >= where.since
        and (where.until is None or facts.created_at < where.until)
        and (not where.states or state in where.states)
        and (not where.workflow_ids or facts.workflow_id in where.workflow_ids)
        and (not where.metadata or any(matches(facts.metadata, key, value) for key, value in where.metadata))
    )
