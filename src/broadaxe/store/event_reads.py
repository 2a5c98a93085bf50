"""What the read side asks about events and filters."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.store.connection import Database
from broadaxe.store.events import filter_of
from broadaxe.store.rows import id_floor
from broadaxe.store.statements import statement

RUNS_LIMIT = 20_000
KEYS_LIMIT = 10_000

_FIRST_ID = UUID(int=0)
_LAST_ID = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class EventCriteria:
    """Which events. Empty tuples and None ask for nothing."""

    since: datetime | None = None
    """Inclusive, in whole milliseconds."""
    until: datetime | None = None
    """Exclusive."""
    keys: tuple[str, ...] = ()
    ids: tuple[UUID, ...] = ()
    scopes: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """All must be there."""
    workflow_ids: tuple[UUID, ...] = ()
    """One of the event's runs is of one of these."""
    states: tuple[TaskState, ...] = ()
    """One of the event's runs is in one of these."""


@dataclass(frozen=True, slots=True)
class EventRunRow:
    """A run that an event started; `state` is None when it is not kept any more."""

    event_id: UUID
    run_id: UUID
    filter_id: UUID | None
    state: TaskState | None


class EventReads(Protocol):
    """The queries. `Unavailable` when the database is away."""

    def list_events(
        self, tenant_id: TenantId, where: EventCriteria, offset: int, limit: int, payload_bytes: int
    ) -> Awaitable[list[UserEvent]]:
        """Newest first. InvalidArgument when their payloads are more than `payload_bytes` altogether."""

    def count_events(self, tenant_id: TenantId, where: EventCriteria) -> Awaitable[int]: ...
    def list_event_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> Awaitable[list[EventRunRow]]:
        """The runs of these events, at most 20,000."""

    def list_event_keys(self, tenant_id: TenantId) -> Awaitable[list[str]]:
        """The keys of the newest 10,000 events."""

    def list_filters(
        self, tenant_id: TenantId, pairs: Sequence[tuple[UUID | None, str | None]], offset: int, limit: int
    ) -> Awaitable[tuple[list[EventFilter], int]]:
        """A page of filters, oldest first, and how many there are. `pairs` of workflow and scope: one of
        them fits, None fits everything; without any, all filters."""

    def get_filter(self, tenant_id: TenantId, filter_id: UUID) -> Awaitable[EventFilter | None]: ...


class PostgresEventReads:
    """Implements `EventReads`. Statements are in `sql/views_event.sql`."""

    _db: Database
    kept_below: int | None
    """The threshold (see `domain.sampling`) under which runs are listed; None = all."""

    async def list_events(
        self, tenant_id: TenantId, where: EventCriteria, offset: int, limit: int, payload_bytes: int
    ) -> list[UserEvent]:
        rows = await self._db.fetch(
            statement("view_event_page"), *_arguments(tenant_id, where), limit, offset, payload_bytes
        )
        if rows and rows[0][-1] > payload_bytes:
            raise InvalidArgument(
                f"limit: the payloads of these {len(rows)} rows are more than {payload_bytes} bytes; "
                "ask for fewer rows"
            )
        return [UserEvent(*tuple(row)[:-1]) for row in rows]

    async def count_events(self, tenant_id: TenantId, where: EventCriteria) -> int:
        rows = await self._db.fetch(statement("view_event_count"), *_arguments(tenant_id, where))
        return int(rows[0][0])

    async def list_event_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[EventRunRow]:
        if not ids:
            return []
        rows = await self._db.fetch(
            statement("view_event_runs"), tenant_id, list(ids), RUNS_LIMIT, self.kept_below
        )
        return [
            EventRunRow(row[0], row[1], row[2], None if row[3] is None else TaskState(row[3])) for row in rows
        ]

    async def list_event_keys(self, tenant_id: TenantId) -> list[str]:
        return [row[0] for row in await self._db.fetch(statement("view_event_keys"), tenant_id, KEYS_LIMIT)]

    async def list_filters(
        self, tenant_id: TenantId, pairs: Sequence[tuple[UUID | None, str | None]], offset: int, limit: int
    ) -> tuple[list[EventFilter], int]:
        given = ([one for one, _ in pairs], [scope for _, scope in pairs]) if pairs else (None, None)
        rows = await self._db.fetch(statement("view_filter_page"), tenant_id, *given, limit, offset)
        count = (await self._db.fetch(statement("view_filter_count"), tenant_id, *given))[0][0]
        return [filter_of(row) for row in rows], count

    async def get_filter(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter | None:
        rows = await self._db.fetch(statement("view_filter"), tenant_id, filter_id)
        return filter_of(rows[0]) if rows else None


def _arguments(tenant_id: TenantId, where: EventCriteria) -> tuple[object, ...]:
    """The parameters of the `event_matches` fragment."""
    return (
        tenant_id,
        _FIRST_ID if where.since is None else id_floor(where.since),
        _LAST_ID if where.until is None else id_floor(where.until),
        list(where.keys) or None,
        list(where.ids) or None,
        list(where.scopes) or None,
        [key for key, _ in where.metadata] or None,
        [value for _, value in where.metadata] or None,
        list(where.workflow_ids) or None,
        [int(state) for state in where.states] or None,
    )
