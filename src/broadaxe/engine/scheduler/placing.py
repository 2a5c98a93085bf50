"""Which worker takes a task: those that can, ranked by what the task wishes, in turn among equals."""

from uuid import UUID

from broadaxe.engine.context import EngineOptions
from broadaxe.engine.scheduler.live import Need
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.workers import Worker


def choose(
    memory: Memory, options: EngineOptions, tenant_id: UUID, action: str, need: Need, now: float
) -> Worker | None:
    """The next worker with the action that may get work, has the free units and suits; None if there is none."""
    ring = memory.rings.get((tenant_id, action))
    if ring is None:
        return None
    slots, fresh = need.slots, options.fresh
    for worker in ring.workers:
        if worker.usable(now, fresh) and worker.fits(slots):
            ring.turn_to(worker)
            return worker
    return None
