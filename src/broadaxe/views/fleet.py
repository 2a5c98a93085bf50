"""Workers and the backlog before them, read."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from broadaxe.clock import Clock
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import LabelValue
from broadaxe.store.ledger import WorkerRow
from broadaxe.store.reads import LiveCount, Reads
from broadaxe.views.definitions import Definitions, definition_of, step_of
from broadaxe.views.model import Backlog, FleetView, Page, SlotView, TaskStats, WorkerState, WorkerView

INACTIVE_AFTER = 5.0
"""Seconds without a heartbeat after which a worker shows as inactive."""


class FleetViews:
    """The part of `Views` about workers, slots and queues."""

    def __init__(
        self, reads: Reads, definitions: Definitions, clock: Clock, inactive_after: float = INACTIVE_AFTER
    ) -> None:
        self._reads = reads
        self._definitions = definitions
        self._clock = clock
        self._inactive_after = timedelta(seconds=inactive_after)

    async def list_workers(
        self,
        tenant_id: TenantId,
        states: tuple[WorkerState, ...],
        labels: tuple[tuple[str, str], ...],
        offset: int,
        limit: int,
    ) -> Page[WorkerView]:
        now = self._clock.now()
        rows = [
            row
            for row in await self._reads.list_workers(tenant_id)
            if (not states or self._state(row, now) in states) and _has_labels(row, labels)
        ]
        shown = await self._present_workers(tenant_id, rows[offset : offset + limit], now)
        return Page(shown, offset, limit, len(rows))

    async def get_worker(self, tenant_id: TenantId, worker_id: UUID) -> WorkerView | None:
        row = await self._reads.get_worker(tenant_id, worker_id)
        if row is None:
            return None
        return (await self._present_workers(tenant_id, [row], self._clock.now()))[0]

    async def get_task_stats(self, tenant_id: TenantId) -> dict[str, TaskStats]:
        stats: dict[str, TaskStats] = {}
        for name, action, count in await self._live(tenant_id):
            now = stats.get(name, TaskStats(None, None))
            if count.state is TaskState.ASSIGNED:
                stats[name] = replace(now, running=_add(now.running, action, count))
            else:
                stats[name] = replace(now, queued=_add(now.queued, action, count))
        return stats

    async def get_queue_depths(self, tenant_id: TenantId) -> dict[str, int]:
        depths: dict[str, int] = {}
        for _, action, count in await self._live(tenant_id):
            if count.state is not TaskState.ASSIGNED:
                depths[action] = depths.get(action, 0) + count.count
        return depths

    async def count_slots(self, tenant_id: TenantId, actions: Sequence[str]) -> tuple[int, int]:
        now, wanted = self._clock.now(), set(actions)
        rows = [
            row
            for row in await self._reads.list_workers(tenant_id)
            if self._state(row, now) is WorkerState.ACTIVE and wanted.intersection(row.actions)
        ]
        slots = [
            slot
            for worker in await self._present_workers(tenant_id, rows, now)
            for slot in worker.slots.values()
        ]
        return sum(slot.available for slot in slots), sum(slot.limit for slot in slots)

    async def get_fleet(self, tenant_id: TenantId) -> FleetView:
        now = self._clock.now()
        rows = [
            row
            for row in await self._reads.list_workers(tenant_id)
            if self._state(row, now) is not WorkerState.INACTIVE
        ]
        slots: dict[str, SlotView] = {}
        for worker in await self._present_workers(tenant_id, rows, now):
            for kind, units in worker.slots.items():
                known = slots.get(kind, SlotView(0, 0))
                slots[kind] = SlotView(known.limit + units.limit, known.available + units.available)
        return FleetView(slots, tuple(row.runtime for row in rows))

    async def _live(self, tenant_id: TenantId) -> list[tuple[str, str, LiveCount]]:
        counts = await self._reads.count_live(tenant_id)
        found = await self._definitions.load(tenant_id, (count.version_id for count in counts))
        live = []
        for count in counts:
            step = step_of(definition_of(found, count.version_id), count.step_id)
            live.append((step.name, step.action, count))
        return live

    async def _present_workers(
        self, tenant_id: TenantId, rows: Sequence[WorkerRow], now: datetime
    ) -> list[WorkerView]:
        if not rows:
            return []
        held = await self._reads.count_held_slots(tenant_id, [row.id for row in rows])
        found = await self._definitions.load(tenant_id, (slots.version_id for slots in held))
        used: dict[UUID, dict[str, int]] = defaultdict(dict)
        for slots in held:
            step = step_of(definition_of(found, slots.version_id), slots.step_id)
            worker = used[slots.worker_id]
            for kind, units in step.slots.items():
                worker[kind] = worker.get(kind, 0) + units * slots.count
        return [self._worker(row, used[row.id], now) for row in rows]

    def _worker(self, row: WorkerRow, used: dict[str, int], now: datetime) -> WorkerView:
        return WorkerView(
            id=row.id,
            tenant_id=row.tenant_id,
            name=row.name,
            state=self._state(row, now),
            actions=row.actions,
            slots={
                kind: SlotView(limit, max(0, limit - used.get(kind, 0))) for kind, limit in row.slots.items()
            },
            labels=row.labels,
            runtime=row.runtime,
            registered_at=row.registered_at,
            last_heartbeat_at=row.last_heartbeat_at,
            listening_since=row.listening_since,
        )

    def _state(self, row: WorkerRow, now: datetime) -> WorkerState:
        beat = row.last_heartbeat_at
        if beat is None or now - beat > self._inactive_after or row.listening_since is None:
            return WorkerState.INACTIVE
        return WorkerState.PAUSED if row.paused else WorkerState.ACTIVE


def _has_labels(row: WorkerRow, wanted: tuple[tuple[str, str], ...]) -> bool:
    return all(key in row.labels and label_text(row.labels[key]) == text for key, text in wanted)


def label_text(value: LabelValue) -> str:
    """A label's value as text, whichever type it has."""
    return str(value.number) if value.text is None else value.text


def _add(backlog: Backlog | None, action: str, count: LiveCount) -> Backlog:
    known = backlog or Backlog()
    first = [at for at in (known.oldest_first_attempt, count.oldest_first_attempt) if at is not None]
    return Backlog(
        total=known.total + count.count,
        queues={**known.queues, action: known.queues.get(action, 0) + count.count},
        oldest=count.oldest if known.oldest is None else min(known.oldest, count.oldest),
        oldest_first_attempt=min(first, default=None),
    )
