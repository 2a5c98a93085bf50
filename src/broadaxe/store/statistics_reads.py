"""The queries of the read side about a whole tenant: log lines, and counts over time."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.store.connection import Database
from broadaxe.store.ledger import LogLine
from broadaxe.store.rows import id_floor
from broadaxe.store.session import Record
from broadaxe.store.statements import statement


@dataclass(frozen=True, slots=True)
class TenantLogCriteria:
    """Which log lines of a tenant. Empty tuples and None ask for nothing."""

    since: datetime
    until: datetime
    """Exclusive."""
    levels: tuple[str, ...] = ()
    search: str | None = None
    """Part of the message, case-insensitive."""
    task_ids: tuple[UUID, ...] = ()
    workflow_ids: tuple[UUID, ...] = ()
    step_ids: tuple[UUID, ...] = ()
    attempt: int | None = None
    """Counted from 0."""
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class WorkflowLive:
    """Tasks of a step that are in a state that is not final."""

    workflow_id: UUID
    version_id: UUID
    step_id: UUID
    state: TaskState
    count: int


class StatisticsReads(Protocol):
    """The queries. `Unavailable` when the database is away."""

    def list_tenant_logs(
        self, tenant_id: TenantId, where: TenantLogCriteria, limit: int
    ) -> Awaitable[list[LogLine]]: ...
    def count_log_points(
        self, tenant_id: TenantId, where: TenantLogCriteria, width: timedelta
    ) -> Awaitable[list[tuple[datetime, str, int]]]:
        """Beginning of a stretch, level, lines; stretches without lines are left out."""

    def count_task_points(
        self, tenant_id: TenantId, since: datetime, until: datetime, width: timedelta
    ) -> Awaitable[list[tuple[datetime, bool, int]]]:
        """Beginning of a stretch, whether completed (else failed), tasks made and ended since then."""

    def count_workflow_live(
        self, tenant_id: TenantId, workflow_ids: Sequence[UUID], metadata: Sequence[tuple[str, str]]
    ) -> Awaitable[list[WorkflowLive]]:
        """Of these workflows (all if none is named), with one of these pairs."""


class PostgresStatisticsReads:
    """See `StatisticsReads` for what each query answers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def list_tenant_logs(
        self, tenant_id: TenantId, where: TenantLogCriteria, limit: int
    ) -> list[LogLine]:
        wanted = statement("view_tenant_logs_newest" if where.newest_first else "view_tenant_logs_oldest")
        rows = await self._db.fetch(wanted, *_log_arguments(tenant_id, where), limit)
        return [_line(row) for row in rows]

    async def count_log_points(
        self, tenant_id: TenantId, where: TenantLogCriteria, width: timedelta
    ) -> list[tuple[datetime, str, int]]:
        rows = await self._db.fetch(
            statement("view_log_points"), *_log_arguments(tenant_id, where), width.total_seconds()
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def count_task_points(
        self, tenant_id: TenantId, since: datetime, until: datetime, width: timedelta
    ) -> list[tuple[datetime, bool, int]]:
        rows = await self._db.fetch(
            statement("view_task_points"), tenant_id, id_floor(since), id_floor(until), since, until,
            width.total_seconds(),
        )  # fmt: skip
        return [(row[0], row[1], row[2]) for row in rows]

    async def count_workflow_live(
        self, tenant_id: TenantId, workflow_ids: Sequence[UUID], metadata: Sequence[tuple[str, str]]
    ) -> list[WorkflowLive]:
        rows = await self._db.fetch(
            statement("view_workflow_live"),
            tenant_id,
            list(workflow_ids) or None,
            [key for key, _ in metadata] or None,
            [value for _, value in metadata] or None,
        )
        return [WorkflowLive(row[0], row[1], row[2], TaskState(row[3]), row[4]) for row in rows]


def _line(record: Record) -> LogLine:
    tenant_id, task_id, attempt, at, level, message, metadata = record
    return LogLine(tenant_id, task_id, attempt, at, level, message.decode(errors="replace"), metadata)


def _log_arguments(tenant_id: TenantId, where: TenantLogCriteria) -> tuple[object, ...]:
    return (
        tenant_id,
        where.since,
        where.until,
        list(where.levels) or None,
        where.search,
        list(where.task_ids) or None,
        list(where.workflow_ids) or None,
        list(where.step_ids) or None,
        where.attempt,
    )
