"""When crons and planned runs are due next: one heap of times, whatever their number."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId

Key = tuple[TenantId, UUID]
_COMPACT_AT = 1_024


@dataclass(frozen=True, slots=True)
class Entry:
    """A cron or planned run that waits for its time."""

    tenant_id: TenantId
    id: UUID
    workflow_id: UUID
    due: datetime
    cron: bool

    @property
    def key(self) -> Key:
        """What it is known by."""
        return (self.tenant_id, self.id)


class Book:
    """Entries by key, and the order of their times. An entry that was replaced stays in the heap, unused."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Entry]] = []
        self._entries: dict[Key, Entry] = {}
        self._crons: dict[tuple[TenantId, UUID], set[UUID]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def crons(self) -> int:
        """How many of the entries are crons."""
        return sum(map(len, self._crons.values()))

    def put(self, entry: Entry) -> None:
        """Let it wait, in place of the one of the same key."""
        self._entries[entry.key] = entry
        if entry.cron:
            self._crons.setdefault((entry.tenant_id, entry.workflow_id), set()).add(entry.id)
        self._sequence += 1
        heapq.heappush(self._heap, (entry.due, self._sequence, entry))
        if len(self._heap) > _COMPACT_AT and len(self._heap) > 2 * len(self._entries):
            self._heap = [item for item in self._heap if self._entries.get(item[2].key) is item[2]]
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """It does not wait any more; fine if it never did."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.cron:
            of = (entry.tenant_id, entry.workflow_id)
            self._crons[of].discard(entry.id)
            if not self._crons[of]:
                del self._crons[of]

    def has_crons(self, tenant_id: TenantId, workflow_id: UUID) -> bool:
        """Whether crons of the workflow wait."""
        return (tenant_id, workflow_id) in self._crons

    def drop_crons(self, tenant_id: TenantId, workflow_id: UUID) -> None:
        """No cron of the workflow waits any more."""
        for cron_id in list(self._crons.get((tenant_id, workflow_id), ())):
            self.drop((tenant_id, cron_id))

    def next_due(self) -> datetime | None:
        """The earliest time, None when nothing waits."""
        heap = self._heap
        while heap and self._entries.get(heap[0][2].key) is not heap[0][2]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take(self, now: datetime, limit: int) -> list[Entry]:
        """Takes out what is due, the earliest first."""
        taken: list[Entry] = []
        while len(taken) < limit:
            due = self.next_due()
            if due is None or due > now:
                break
            entry = heapq.heappop(self._heap)[2]
            self.drop(entry.key)
            taken.append(entry)
        return taken

    def restore(self, entries: Iterable[Entry]) -> None:
        """Puts back what was taken, but for what was put there meanwhile."""
        for entry in entries:
            if entry.key not in self._entries:
                self.put(entry)

    def clear(self) -> None:
        """Forgets everything."""
        self._heap.clear()
        self._entries.clear()
        self._crons.clear()
