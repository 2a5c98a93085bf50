"""Which worker takes a task: those that can, ranked by what the task wishes, in turn among equals."""

from collections.abc import Mapping
from uuid import UUID

from broadaxe.domain.placement import choose_worker
from broadaxe.domain.workflow import LabelValue
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.scheduler.live import Need
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.workers import Worker

STICKY_HARD = 1
"""The wire's value for a workflow whose tasks run on the desired worker or not at all."""


class _Candidate:
    """A worker as `domain.placement` sees it."""

    __slots__ = ("worker",)

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @property
    def worker_id(self) -> UUID:
        return self.worker.id

    @property
    def free(self) -> Mapping[str, int]:
        return self.worker.free_units()

    @property
    def labels(self) -> Mapping[str, LabelValue]:
        return self.worker.row.labels


def choose(
    memory: Memory, options: EngineOptions, tenant_id: UUID, action: str, need: Need, now: float
) -> Worker | None:
    """The next worker with the action that may get work, has the free units and suits; None if none."""
    ring = memory.rings.get((tenant_id, action))
    if ring is None:
        return None
    slots, fresh = need.slots, options.fresh
    if not need.labels and need.desired_worker_id is None:
        for worker in ring.workers:
            if worker.usable(now, fresh) and worker.fits(slots):
                ring.turn_to(worker)
                return worker
        return None
    candidates = [_Candidate(worker) for worker in ring.workers if worker.usable(now, fresh)]
    placement = choose_worker(
        candidates,
        dict(slots),
        0,
        requests=need.labels,
        desired_worker=need.desired_worker_id,
        desired_only=need.sticky == STICKY_HARD,
    )
    if placement is None:
        return None
    chosen = candidates[placement.index].worker
    ring.turn_to(chosen)
    return chosen
