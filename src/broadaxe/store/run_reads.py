"""Reads of runs of several steps."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskFilter
from broadaxe.store.connection import Database
from broadaxe.store.ledger import StoredTask
from broadaxe.store.rows import has_pair, id_floor, id_range, task_of
from broadaxe.store.run_ledger import StoredRun, StoredWait, WholeRun
from broadaxe.store.run_rows import run_of, wait_of
from broadaxe.store.session import Session
from broadaxe.store.statements import Statement, statement

_NO_ID = UUID(int=0)
_LAST_ID = UUID(int=(1 << 128) - 1)
_SLACK = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 2, tzinfo=UTC)
_FIND_PAGE = 1_000
_WHOLE_PAGE = 100
"""Runs that are read whole at once: each may have a thousand tasks."""


class RunReads:
    """Reads of the primary."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredRun]:
        """Runs by id; unknown ones are left out."""
        if not ids:
            return []
        return [run_of(row) for row in await self._db.fetch(statement("run_get_many"), tenant_id, list(ids))]

    async def get_whole_run(self, tenant_id: TenantId, run_id: UUID) -> WholeRun | None:
        """A run with all its tasks and waits, as of one moment."""

        async def work(session: Session) -> list[WholeRun]:
            rows = await session.fetch(statement("run_get_many"), tenant_id, [run_id])
            return await _whole(session, [run_of(row) for row in rows])

        found = await self._db.transaction(work)
        return found[0] if found else None

    async def find_runs(self, tenant_id: TenantId, where: TaskFilter, limit: int) -> list[StoredRun]:
        """Newest first, without their inputs."""
        below = id_floor(where.until + _SLACK) if where.until else _LAST_ID
        lowest = id_floor(where.since - _SLACK) if where.since > _EPOCH else _NO_ID
        states = [int(state) for state in where.states] or None
        page = _FIND_PAGE if where.metadata else limit
        found: list[StoredRun] = []
        while len(found) < limit:
            rows = await self._db.fetch(
                statement("run_find"), tenant_id, lowest, below, where.since, where.until, states,
                list(where.workflow_ids) or None, page,
            )  # fmt: skip
            runs = [run_of(row) for row in rows]
            found += [
                run for run in runs if not where.metadata or has_pair(run.facts.metadata, where.metadata)
            ]
            if len(rows) < page:
                break
            below = runs[-1].facts.id
        return found[:limit]

    async def load_outputs(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[bytes | None, bytes | None]]:
        """Output and error by task id."""
        if not task_ids:
            return {}
        rows = await self._db.fetch(statement("task_outputs"), tenant_id, list(task_ids))
        return {row[0]: (row[1], row[2]) for row in rows}

    async def load_run_inputs(self, tenant_id: TenantId, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by run id."""
        rows = await self._db.fetch(statement("run_inputs"), tenant_id, list(run_ids))
        return {row[0]: row[1] for row in rows}

    async def load_live_runs(self) -> AsyncIterator[list[WholeRun]]:
        """Every run that is not over, oldest first, in pages."""
        after = _NO_ID
        while True:

            async def work(session: Session, after: UUID = after) -> list[WholeRun]:
                rows = await session.fetch(statement("run_live_page"), after, _WHOLE_PAGE)
                return await _whole(session, [run_of(row) for row in rows])

            page = await self._db.transaction(work)
            if page:
                yield page
                after = page[-1].run.facts.id
            if len(page) < _WHOLE_PAGE:
                return

    async def load_ended_runs_since(self, at: datetime) -> AsyncIterator[list[StoredRun]]:
        """Runs that ended since then, in pages."""
        size = self._db.options.live_page_rows
        page: Statement = statement("run_ended_page")
        after = _NO_ID
        while True:
            runs = [run_of(row) for row in await self._db.fetch(page, at, after, size)]
            if runs:
                yield runs
                after = runs[-1].facts.id
            if len(runs) < size:
                return


async def _whole(session: Session, runs: list[StoredRun]) -> list[WholeRun]:
    if not runs:
        return []
    ids = [run.facts.id for run in runs]
    tasks: dict[UUID, list[StoredTask]] = {run_id: [] for run_id in ids}
    waits: dict[UUID, list[StoredWait]] = {run_id: [] for run_id in ids}
    for row in await session.fetch(statement("run_tasks"), ids, *id_range(ids)):
        task = task_of(row)
        tasks[task.facts.run_id].append(task)
    for row in await session.fetch(statement("run_waits"), ids):
        wait = wait_of(row)
        waits[wait.wait.run_id].append(wait)
    return [WholeRun(run, tuple(tasks[run.facts.id]), tuple(waits[run.facts.id])) for run in runs]
