"""Events, filters and idempotency keys on PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import NotFound, ResourceExhausted
from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId
from broadaxe.domain.workflow import DefaultFilter
from broadaxe.store.connection import Database
from broadaxe.store.event_ledger import (
    EarlierEvent,
    EventSearch,
    FilterChange,
    StoredEvent,
    Subscription,
)
from broadaxe.store.rows import id_floor, storable
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement

_PAGE = 1_000
_EXPIRE_AT_ONCE = 10_000
_NO_ID = UUID(int=0)
_FOUND_AT_ONCE = 20
_FOUND_BYTES = 1 << 20
"""Of payloads; one that is larger comes alone."""


class EventStore:
    """Implements `EventLedger`, and what the API changes of filters."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def load_subscriptions(self, tenant_id: TenantId) -> tuple[list[Subscription], list[EventFilter]]:
        """All of a tenant's."""
        found = await self._db.fetch(statement("event_subscriptions"), tenant_id)
        filters = await self._db.fetch(statement("filter_load"), tenant_id)
        return (
            [Subscription(row[0], row[1], tuple(row[2])) for row in found],
            [filter_of(row) for row in filters],
        )

    async def load_events_since(self, at: datetime) -> AsyncIterator[list[StoredEvent]]:
        """Events since then, in pages."""
        floor, last = id_floor(at), _NO_ID
        while True:
            rows = await self._db.fetch(statement("event_since_page"), floor, last, _PAGE)
            if rows:
                yield [StoredEvent(*row) for row in rows]
            if len(rows) < _PAGE:
                return
            last = rows[-1]["id"]

    async def find_events(self, searches: Sequence[EventSearch]) -> list[list[EarlierEvent]]:
        """The next few events of each search."""
        found: list[list[EarlierEvent]] = [[] for _ in searches]
        # No event has a key or scope that a text column cannot hold, and one such search would fail all.
        asked = [(at, one) for at, one in enumerate(searches) if storable(one.key) and storable(one.scope)]
        rows = await self._db.fetch(
            statement("event_find"),
            [at for at, _ in asked],
            [one.tenant_id for _, one in asked],
            [one.key for _, one in asked],
            [one.scope for _, one in asked],
            [one.after or _before(id_floor(one.since)) for _, one in asked],
            _FOUND_AT_ONCE,
            _FOUND_BYTES,
        )
        for at, event_id, payload in rows:
            found[at].append(EarlierEvent(event_id, payload))
        return found

    async def get_trace(self, tenant_id: TenantId, event_id: UUID) -> bytes | None:
        """What is above an event; None for an unknown one."""
        rows = await self._db.fetch(statement("event_trace"), tenant_id, event_id)
        return rows[0][0] if rows else None

    async def expire_keys(self) -> int:
        """Take expired keys away."""
        count = 0
        while True:
            rows = await self._db.fetch(statement("key_expire"), self._db.clock.now(), _EXPIRE_AT_ONCE)
            count += len(rows)
            if len(rows) < _EXPIRE_AT_ONCE:
                return count

    # -- filters ---------------------------------------------------------------------------------------

    async def add_filter(
        self, tenant_id: TenantId, workflow_id: UUID, scope: str, expression: str, payload: bytes, limit: int
    ) -> EventFilter:
        """Make a filter. NotFound for an unknown workflow, ResourceExhausted if there are `limit` already."""
        count = (await self._db.fetch(statement("filter_count"), tenant_id))[0][0]
        if count >= limit:
            raise ResourceExhausted(f"filters: there are {count}; at most {limit} are allowed")
        rows = await self._db.fetch(
            statement("filter_add"), tenant_id, self._db.ids.uuid7(), workflow_id, scope, expression, payload,
            self._db.clock.now(),
        )  # fmt: skip
        if not rows:
            raise NotFound(f"workflowId: workflow {workflow_id} not found")
        return filter_of(rows[0])

    async def change_filter(
        self, tenant_id: TenantId, filter_id: UUID, change: FilterChange
    ) -> EventFilter | None:
        """The filter as it is then; None for an unknown one."""
        rows = await self._db.fetch(
            statement("filter_update"), tenant_id, filter_id, change.scope, change.expression, change.payload,
            self._db.clock.now(),
        )  # fmt: skip
        return filter_of(rows[0]) if rows else None

    async def delete_filter(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter | None:
        """The filter as it was; None for an unknown one."""
        rows = await self._db.fetch(statement("filter_delete"), tenant_id, filter_id)
        return filter_of(rows[0]) if rows else None


async def declare_events(
    database: Database,
    session: Session,
    tenant_id: TenantId,
    workflow_id: UUID,
    keys: tuple[str, ...],
    filters: tuple[DefaultFilter, ...],
) -> None:
    """What a new version asks for takes the place of what the version before asked for."""
    await session.fetch(statement("workflow_event_keys"), tenant_id, workflow_id, list(dict.fromkeys(keys)))
    await session.fetch(statement("filter_forget_declared"), tenant_id, workflow_id)
    if filters:
        await session.fetch(
            statement("filter_declare_batch"),
            tenant_id,
            workflow_id,
            [database.ids.uuid7() for _ in filters],
            [one.scope for one in filters],
            [one.expression for one in filters],
            [one.payload or b"{}" for one in filters],
            database.clock.now(),
        )


def _before(floor: UUID) -> UUID:
    return UUID(int=max(0, floor.int - 1))


def filter_of(record: Record) -> EventFilter:
    """A row of `filter_columns`."""
    return EventFilter(*record)
