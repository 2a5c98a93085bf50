"""Full queues: their owner tells the other engines, which refuse triggers for them without asking."""

import msgspec

from broadaxe.domain.errors import ResourceExhausted
from broadaxe.domain.ids import TenantId
from broadaxe.engine.context import EngineContext
from broadaxe.engine.elsewhere.bodies import Depth
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.scheduler.queues import Queue
from broadaxe.store.ledger import Message, MessageKind

_AGAIN_AFTER = 1.0
"""Seconds after which the owner tells again of a queue that still grows: a new engine does not know."""
_BELIEVED_FOR = 30.0
"""Seconds that an engine believes it. What it lets through after that makes the owner tell again."""


class Depths:
    """For the owner what it tells of its queues; for the others what they were told."""

    def __init__(self, context: EngineContext, outgoing: Outgoing) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._limit = context.options.queue_limit
        self._room_below = self._limit - self._limit // 100
        """A little lower, so that a queue at its limit is not told of with every task."""
        self._outgoing = outgoing
        self._full: dict[tuple[TenantId, str], float] = {}

    # -- for the owner ------------------------------------------------------------------------------------

    def grown(self, queue: Queue) -> None:
        """A task came to wait."""
        if queue.size < self._limit or len(self._ledger.fleet.members) < 2:
            return
        now = self._clock.monotonic()
        if queue.told_full_at is None or now - queue.told_full_at >= _AGAIN_AFTER:
            queue.told_full_at = now
            self._tell(queue, full=True)

    def shrunk(self, queue: Queue) -> None:
        """A task waits no more."""
        if queue.told_full_at is not None and queue.size < self._room_below:
            queue.told_full_at = None
            self._tell(queue, full=False)

    def _tell(self, queue: Queue, *, full: bool) -> None:
        body = msgspec.json.encode(Depth(queue.action, full))
        self._outgoing.post(Message(TenantId(queue.tenant_id), MessageKind.QUEUE_FULL, body))

    # -- for the others -----------------------------------------------------------------------------------

    def told(self, tenant_id: TenantId, depth: Depth) -> None:
        """The owner says that a queue is full, or has room again."""
        if depth.full:
            self._full[tenant_id, depth.action] = self._clock.monotonic()
        else:
            self._full.pop((tenant_id, depth.action), None)

    def require(self, tenant_id: TenantId, action: str, count: int) -> None:
        """RESOURCE_EXHAUSTED when so many more tasks have no room, as far as this engine was told."""
        told_at = self._full.get((tenant_id, action))
        if told_at is not None and self._clock.monotonic() - told_at >= _BELIEVED_FOR:
            del self._full[tenant_id, action]
            told_at = None
        if told_at is not None or count > self._limit:
            raise ResourceExhausted(f"queue {action} is full; its limit is {self._limit} tasks")

    def moved(self) -> None:
        """Leases changed hands: the new owners tell anew."""
        self._full.clear()
