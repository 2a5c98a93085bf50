"""Reads of tasks: single ones, by filter, and whole pages for a take-over."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from broadaxe.domain.ids import TaskId, TenantId
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.store.connection import Database
from broadaxe.store.derived import from_row
from broadaxe.store.ledger import EndedAttempt, StoredTask
from broadaxe.store.rows import ended_attempt_of, has_pair, id_floor, id_range, task_of
from broadaxe.store.session import Record
from broadaxe.store.statements import Statement, statement

_NO_ID = UUID(int=0)
_LAST_ID = UUID(int=(1 << 128) - 1)
_SLACK = timedelta(hours=1)
"""How far a task's creation time and the time in its id may lie apart."""
_FIND_PAGE = 1000


class TaskReads:
    """Reads of the primary."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get_task(self, tenant_id: TenantId, task_id: UUID) -> StoredTask | None:
        """One task, None for an unknown one."""
        rows = await self._db.fetch(statement("task_get"), tenant_id, task_id)
        return task_of(rows[0]) if rows else None

    async def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredTask]:
        """Tasks whose task id or run id is in `ids`."""
        if not ids:
            return []
        rows = await self._db.fetch(statement("task_get_many"), tenant_id, list(ids), *id_range(ids))
        return [task_of(row) for row in rows]

    async def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by task id; unknown ids are left out."""
        if not ids:
            return {}
        rows = await self._db.fetch(statement("task_inputs"), tenant_id, list(ids))
        return {row[0]: row[1] for row in rows}

    async def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> list[tuple[TaskId, TaskState]]:
        """Newest first."""
        below = id_floor(where.until + _SLACK) if where.until else _LAST_ID
        lowest = id_floor(where.since - _SLACK) if where.since > _EPOCH else _NO_ID
        states = [int(state) for state in where.states] or None
        workflows = list(where.workflow_ids) or None
        page = _FIND_PAGE if where.metadata else limit
        found: list[tuple[TaskId, TaskState]] = []
        while len(found) < limit:
            rows = await self._db.fetch(
                statement("task_find"),
                tenant_id,
                lowest,
                below,
                where.since,
                where.until,
                states,
                workflows,
                page,
            )
            for row in rows:
                if not where.metadata or has_pair(from_row(*row[2:])[0], where.metadata):
                    found.append((row[0], TaskState(row[1])))
            if len(rows) < page:
                break
            below = rows[-1][0]
        return found[:limit]

    async def load_live_tasks(self, *which: int | None) -> AsyncIterator[list[StoredTask]]:
        """Every task that is not final, oldest first, in pages. `which`: partition (None for all), and of how
        many."""
        async for page in self._pages(statement("task_live_page"), *which):
            yield page

    async def load_finished_since(self, at: datetime, *which: int | None) -> AsyncIterator[list[StoredTask]]:
        """Tasks that became final since then, in pages."""
        async for page in self._pages(statement("task_finished_page"), *which, at):
            yield page

    async def load_attempts_since(
        self, at: datetime, *which: int | None
    ) -> AsyncIterator[list[EndedAttempt]]:
        """Attempts that ended since then while their tasks went on, in pages."""
        size = self._db.options.live_page_rows
        after: tuple[UUID, int] = (_NO_ID, -1)
        while True:
            rows = await self._db.fetch(statement("attempt_ended_page"), *which, at, *after, size)
            if rows:
                ended = [ended_attempt_of(row) for row in rows]
                after = (ended[-1].facts.id, ended[-1].record.attempt)
                yield ended
            if len(rows) < size:
                return

    async def _pages(self, page: Statement, *args: object) -> AsyncIterator[list[StoredTask]]:
        size = self._db.options.live_page_rows
        after = _NO_ID
        while True:
            rows: list[Record] = await self._db.fetch(page, *args, after, size)
            if rows:
                tasks = [task_of(row) for row in rows]
                after = tasks[-1].facts.id
                yield tasks
            if len(rows) < size:
                return


_EPOCH = datetime(1970, 1, 2, tzinfo=UTC)
