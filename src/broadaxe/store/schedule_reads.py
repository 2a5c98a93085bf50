"""The queries of the read side about crons, planned runs and pauses."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.schedule import Method, Pause
from broadaxe.domain.task import TaskState
from broadaxe.store.connection import Database
from broadaxe.store.schedules import ScheduleStore
from broadaxe.store.session import Record
from broadaxe.store.statements import statement

Pairs = tuple[tuple[str, str], ...]

WAITING, SKIPPED = 0, -1
"""Stand beside the states of runs for planned runs that have none."""


@dataclass(frozen=True, slots=True)
class CronCriteria:
    """Which crons. None and empty tuples ask for nothing; all of `metadata` must be there."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    workflow: str | None = None
    name: str | None = None
    metadata: Pairs = ()


@dataclass(frozen=True, slots=True)
class ScheduledCriteria:
    """Which planned runs; None and empty tuples ask for nothing."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    metadata: Pairs = ()
    states: tuple[int, ...] = ()
    """States of tasks, and `WAITING`."""


@dataclass(frozen=True, slots=True)
class ListedCron:
    """A cron in a list."""

    tenant_id: TenantId
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version_id: UUID
    expression: str
    name: str | None
    method: Method
    enabled: bool
    priority: int | None
    input: bytes
    metadata: bytes
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ListedScheduled:
    """A planned run in a list, with what came of it."""

    tenant_id: TenantId
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version_id: UUID
    trigger_at: datetime
    priority: int | None
    input: bytes
    metadata: bytes
    created_at: datetime
    updated_at: datetime
    settled_at: datetime | None
    """None while it waits."""
    run_id: UUID | None
    run_created_at: datetime | None
    state: TaskState | None


class ScheduleReads(Protocol):
    """The queries. `Unavailable` when the database is away."""

    def list_crons(
        self,
        tenant_id: TenantId,
        where: CronCriteria,
        order: str,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Awaitable[list[ListedCron]]:
        """A page by `name` or `createdAt`."""

    def count_crons(self, tenant_id: TenantId, where: CronCriteria) -> Awaitable[int]: ...
    def list_scheduled(
        self,
        tenant_id: TenantId,
        where: ScheduledCriteria,
        order: str,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Awaitable[list[ListedScheduled]]:
        """A page by `triggerAt` or `createdAt`."""

    def count_scheduled(self, tenant_id: TenantId, where: ScheduledCriteria) -> Awaitable[int]: ...
    def list_waiting(
        self, tenant_id: TenantId, where: ScheduledCriteria, limit: int
    ) -> Awaitable[list[UUID]]:
        """Ids of those that wait, the earliest first; its states do not matter."""

    def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[Pause | None]: ...


class PostgresScheduleReads:
    """See `ScheduleReads` for what each query answers."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._pauses = ScheduleStore(database)

    async def list_crons(
        self,
        tenant_id: TenantId,
        where: CronCriteria,
        order: str,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> list[ListedCron]:
        wanted = statement("view_crons_down" if newest_first else "view_crons_up")
        rows = await self._db.fetch(wanted, *_cron_arguments(tenant_id, where), order, limit, offset)
        return [_cron(row) for row in rows]

    async def count_crons(self, tenant_id: TenantId, where: CronCriteria) -> int:
        rows = await self._db.fetch(statement("view_cron_count"), *_cron_arguments(tenant_id, where))
        return int(rows[0][0])

    async def list_scheduled(
        self,
        tenant_id: TenantId,
        where: ScheduledCriteria,
        order: str,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> list[ListedScheduled]:
        wanted = statement("view_scheduled_down" if newest_first else "view_scheduled_up")
        rows = await self._db.fetch(
            wanted, *_scheduled_arguments(tenant_id, where), list(where.states) or None, order, limit, offset
        )
        return [_scheduled(row) for row in rows]

    async def count_scheduled(self, tenant_id: TenantId, where: ScheduledCriteria) -> int:
        rows = await self._db.fetch(
            statement("view_scheduled_count"),
            *_scheduled_arguments(tenant_id, where),
            list(where.states) or None,
        )
        return int(rows[0][0])

    async def list_waiting(self, tenant_id: TenantId, where: ScheduledCriteria, limit: int) -> list[UUID]:
        rows = await self._db.fetch(
            statement("view_scheduled_waiting"), *_scheduled_arguments(tenant_id, where), limit
        )
        return [row[0] for row in rows]

    async def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Pause | None:
        return await self._pauses.get_pause(tenant_id, workflow_id)


def _pairs(pairs: Pairs) -> tuple[list[str] | None, list[str] | None]:
    return [key for key, _ in pairs] or None, [value for _, value in pairs] or None


def _cron_arguments(tenant_id: TenantId, where: CronCriteria) -> tuple[object, ...]:
    return tenant_id, where.id, where.workflow_id, where.workflow, where.name, *_pairs(where.metadata)


def _scheduled_arguments(tenant_id: TenantId, where: ScheduledCriteria) -> tuple[object, ...]:
    parents = (where.parent_run_id, where.parent_task_id)
    return tenant_id, where.id, where.workflow_id, *parents, *_pairs(where.metadata)


def _cron(record: Record) -> ListedCron:
    values = list(record)
    values[7] = Method(values[7])
    return ListedCron(*values)


def _scheduled(record: Record) -> ListedScheduled:
    values = list(record)
    values[14] = None if values[14] is None else TaskState(values[14])
    return ListedScheduled(*values)
