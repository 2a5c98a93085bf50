"""Events and filters, read."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.store.event_reads import EventCriteria as EventCriteria
from broadaxe.store.event_reads import EventReads, EventRunRow
from broadaxe.views.model import Page

PAYLOAD_LIMIT = 64 * 1024 * 1024
"""Bytes of payloads that one page may hold."""
RUNS_SHOWN = 1_000
"""Runs that are listed with an event; all are counted."""


@dataclass(frozen=True, slots=True)
class EventRunView:
    """A run that an event started, and the filter that let it."""

    run_id: UUID
    filter_id: UUID | None


@dataclass(frozen=True, slots=True)
class EventView:
    """An event with what it started."""

    event: UserEvent
    runs: tuple[EventRunView, ...]
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class EventViews:
    """The part of `Views` about events."""

    def __init__(self, reads: EventReads) -> None:
        self._event_reads = reads

    async def list_events(
        self, tenant_id: TenantId, where: EventCriteria, offset: int, limit: int
    ) -> Page[EventView]:
        events = await self._event_reads.list_events(tenant_id, where, offset, limit, PAYLOAD_LIMIT)
        if len(events) < limit and (events or offset == 0):
            total = offset + len(events)
        else:
            total = await self._event_reads.count_events(tenant_id, where)
        return Page(await self._with_runs(tenant_id, events), offset, limit, total)

    async def get_event(self, tenant_id: TenantId, event_id: UUID) -> EventView | None:
        where = EventCriteria(ids=(event_id,))
        events = await self._event_reads.list_events(tenant_id, where, 0, 1, PAYLOAD_LIMIT)
        found = await self._with_runs(tenant_id, events)
        return found[0] if found else None

    async def list_event_keys(self, tenant_id: TenantId) -> list[str]:
        return await self._event_reads.list_event_keys(tenant_id)

    async def list_filters(
        self, tenant_id: TenantId, pairs: Sequence[tuple[UUID | None, str | None]], offset: int, limit: int
    ) -> Page[EventFilter]:
        rows, total = await self._event_reads.list_filters(tenant_id, pairs, offset, limit)
        return Page(rows, offset, limit, total)

    async def get_filter(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter | None:
        return await self._event_reads.get_filter(tenant_id, filter_id)

    async def _with_runs(self, tenant_id: TenantId, events: list[UserEvent]) -> list[EventView]:
        found: defaultdict[UUID, list[EventRunRow]] = defaultdict(list)
        for row in await self._event_reads.list_event_runs(tenant_id, [event.id for event in events]):
            found[row.event_id].append(row)
        return [_view(event, found[event.id]) for event in events]


def _view(event: UserEvent, rows: list[EventRunRow]) -> EventView:
    counts = dict.fromkeys(("queued", "running", "succeeded", "failed", "cancelled"), 0)
    for row in rows:
        if row.state is not None:
            counts[_COUNTED[row.state]] += 1
    runs = tuple(EventRunView(row.run_id, row.filter_id) for row in rows[:RUNS_SHOWN])
    return EventView(event, runs, **counts)


_COUNTED = {
    TaskState.QUEUED: "queued",
    TaskState.DELAYED: "queued",
    TaskState.ASSIGNED: "running",
    TaskState.COMPLETED: "succeeded",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}
