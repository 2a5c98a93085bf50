"""Subscriptions, filters and idempotency keys in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId, WorkflowId
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.event_ledger import EarlierEvent, EventSearch, FilterChange, StoredEvent, Subscription
from broadaxe.testkit.memory.tables import MemoryTables


class MemoryEvents:
    """Implements `EventLedger`."""

    def __init__(
        self, tables: MemoryTables, now: Callable[[], datetime], reach: Callable[[], Awaitable[None]]
    ) -> None:
        """`reach`: a round trip to the database."""
        self._tables = tables
        self._now = now
        self._reach = reach

    def declare(self, version: WorkflowVersion) -> None:
        """The declared filters become those of this version."""
        filters = self._tables.filters
        for one in [one for one in filters.values() if one.declared]:
            if one.workflow_id == version.workflow_id:
                del filters[one.id]
        for at, new in enumerate(version.definition.default_filters):
            filter_id = uuid5(version.version_id, f"filter {at}")
            now = self._now()
            filters[filter_id] = EventFilter(
                version.tenant_id,
                filter_id,
                version.workflow_id,
                new.scope,
                new.expression,
                new.payload or b"{}",
                True,
                now,
                now,
            )

    async def load_subscriptions(self, tenant_id: TenantId) -> tuple[list[Subscription], list[EventFilter]]:
        """All of a tenant's."""
        await self._reach()
        found = [
            Subscription(version.workflow_id, name, version.definition.event_triggers)
            for (tenant, name), version in sorted(self._tables.newest.items(), key=lambda item: item[0][1])
            if tenant == tenant_id and version.definition.event_triggers
        ]
        filters = [one for one in self._tables.filters.values() if one.tenant_id == tenant_id]
        return found, filters

    async def load_events_since(self, at: datetime) -> AsyncIterator[list[StoredEvent]]:
        """Events since then."""
        await asyncio.sleep(0)
        yield [
            StoredEvent(
                new.event.tenant_id,
                new.event.id,
                new.event.at,
                new.event.key,
                new.trace,
                max((link.run_id for link in self._tables.links[new.event.id]), default=None),
            )
            for new in self._tables.events.values()
            if new.event.at >= at
        ]

    async def find_events(self, searches: Sequence[EventSearch]) -> list[list[EarlierEvent]]:
        """The next event of each search: one at a time, so that going on is tested too."""
        await self._reach()
        found: list[list[EarlierEvent]] = []
        for search in searches:
            events = sorted((new.event for new in self._tables.events.values()), key=lambda event: event.id)
            found.append(
                [
                    EarlierEvent(event.id, event.payload)
                    for event in events
                    if (event.tenant_id, event.key, event.scope)
                    == (search.tenant_id, search.key, search.scope)
                    and event.at >= search.since
                    and (search.after is None or event.id > search.after)
                ][:1]
            )
        return found

    async def add_filter(
        self, tenant_id: TenantId, workflow_id: UUID, scope: str, expression: str, payload: bytes, limit: int
    ) -> EventFilter:
        """Make a filter."""
        await self._reach()
        now = self._now()
        filter_id = uuid5(workflow_id, f"filter {len(self._tables.filters)}")
        made = EventFilter(
            tenant_id, filter_id, WorkflowId(workflow_id), scope, expression, payload, False, now, now
        )
        self._tables.filters[filter_id] = made
        return made

    async def change_filter(
        self, tenant_id: TenantId, filter_id: UUID, change: FilterChange
    ) -> EventFilter | None:
        """Change a filter."""
        await self._reach()
        found = self._tables.filters.get(filter_id)
        if found is None or found.tenant_id != tenant_id:
            return None
        given = {"scope": change.scope, "expression": change.expression, "payload": change.payload}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._tables.filters[filter_id] = replace(found, **changes)
        return self._tables.filters[filter_id]

    async def delete_filter(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter | None:
        """Take a filter away."""
        await self._reach()
        found = self._tables.filters.get(filter_id)
        if found is None or found.tenant_id != tenant_id:
            return None
        return self._tables.filters.pop(filter_id)

    async def expire_keys(self) -> int:
        """Take expired keys away."""
        await self._reach()
        now = self._now()
        old = [place for place, (held, _) in self._tables.keys.items() if held.expires_at <= now]
        for place in old:
            del self._tables.keys[place]
        return len(old)
