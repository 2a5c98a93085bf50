"""Queues: one per tenant and action, ordered by priority, then first come first served.

Inside a queue, tasks that ask the same of a worker share a lane, so that one which no worker suits holds
up only its own kind.
"""

import heapq
from collections.abc import Iterator
from uuid import UUID

from broadaxe.engine.scheduler.live import LiveTask, Need

Entry = tuple[int, int, int, LiveTask]
"""Negative priority, 0 for who goes ahead, order, task."""

_COMPACT_AT = 64


class Lane:
    """Waiting tasks of one queue with the same needs."""

    __slots__ = ("heap", "stale")

    def __init__(self) -> None:
        self.heap: list[Entry] = []
        self.stale = 0

    def head(self) -> Entry | None:
        """The next task, None when nobody waits."""
        heap = self.heap
        while heap and heap[0][3].entry is not heap[0]:
            heapq.heappop(heap)
            self.stale -= 1
        return heap[0] if heap else None

    def drop_one(self) -> None:
        """One entry became stale."""
        self.stale += 1
        if self.stale > _COMPACT_AT and self.stale * 2 > len(self.heap):
            self.heap = [entry for entry in self.heap if entry[3].entry is entry]
            heapq.heapify(self.heap)
            self.stale = 0


class Queue:
    """The waiting tasks of one action."""

    __slots__ = ("action", "arriving", "dirty", "lanes", "size", "tenant_id", "told_full_at")

    def __init__(self, tenant_id: UUID, action: str) -> None:
        self.tenant_id = tenant_id
        self.action = action
        self.lanes: dict[Need, Lane] = {}
        self.size = 0
        self.arriving = 0
        """Tasks whose creation, in this queue, is being committed."""
        self.dirty = False
        """Something changed since the scheduler last looked."""
        self.told_full_at: float | None = None
        """When the other engines were last told that it is full."""

    def push(self, live: LiveTask) -> None:
        """Let a task wait."""
        entry: Entry = (-live.facts.priority, 0 if live.ahead else 1, live.order, live)
        live.entry = entry
        lane = self.lanes.get(live.need)
        if lane is None:
            lane = self.lanes[live.need] = Lane()
        heapq.heappush(lane.heap, entry)
        self.size += 1

    def remove(self, live: LiveTask) -> None:
        """Take a task out, wherever it stands; fine if it does not wait."""
        if live.entry is None:
            return
        live.entry = None
        self.size -= 1
        lane = self.lanes[live.need]
        lane.drop_one()
        if lane.head() is None:
            del self.lanes[live.need]

    def first(self, blocked: set[Need]) -> LiveTask | None:
        """The next task of the lanes that are not blocked."""
        best: Entry | None = None
        for need, lane in self.lanes.items():
            if blocked and need in blocked:
                continue
            head = lane.head()
            if head is not None and (best is None or head < best):
                best = head
        return best[3] if best is not None else None

    def nobody_before(self, need: Need) -> bool:
        """Whether a task with these needs that comes now would be the next one."""
        return not self.arriving and (not self.size or (not self.dirty and need not in self.lanes))

    def waiting(self) -> Iterator[LiveTask]:
        """Everyone who waits, in no order."""
        for lane in self.lanes.values():
            for entry in lane.heap:
                if entry[3].entry is entry:
                    yield entry[3]
