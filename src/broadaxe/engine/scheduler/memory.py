"""All that the owner keeps in memory: a cache, rebuilt from rows at a take-over, dropped with the lease."""

from collections.abc import Callable
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.engine.runs.live_run import LiveRun
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.pauses import Pauses
from broadaxe.engine.scheduler.queues import Queue
from broadaxe.engine.scheduler.workers import ActionRing, Worker


class Memory:
    """Live tasks, queues and workers."""

    def __init__(self) -> None:
        self.tasks: dict[UUID, LiveTask] = {}
        self.runs: dict[UUID, LiveRun] = {}
        """Runs of several steps."""
        self.queues: dict[tuple[UUID, str], Queue] = {}
        self.workers: dict[UUID, Worker] = {}
        self.rings: dict[tuple[UUID, str], ActionRing] = {}
        self.pauses = Pauses()
        self._order = 0

    def next_order(self) -> int:
        """A number larger than all before: who asked first goes first."""
        self._order += 1
        return self._order

    def task(self, tenant_id: TenantId, task_id: UUID) -> LiveTask | None:
        """A tenant's live task."""
        live = self.tasks.get(task_id)
        return live if live is not None and live.facts.tenant_id == tenant_id else None

    def run(self, tenant_id: TenantId, run_id: UUID) -> LiveRun | None:
        """A tenant's run of several steps that is not over."""
        run = self.runs.get(run_id)
        return run if run is not None and run.facts.tenant_id == tenant_id else None

    def queue(self, tenant_id: UUID, action: str) -> Queue:
        """The queue of an action."""
        key = (tenant_id, action)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue(tenant_id, action)
        return queue

    def worker(self, tenant_id: TenantId, worker_id: UUID) -> Worker | None:
        """A tenant's worker."""
        worker = self.workers.get(worker_id)
        return worker if worker is not None and worker.row.tenant_id == tenant_id else None

    def add_worker(self, worker: Worker) -> None:
        """Know a worker, also for its actions."""
        self.workers[worker.id] = worker
        for action in dict.fromkeys(worker.row.actions):
            ring = self.rings.get((worker.row.tenant_id, action))
            if ring is None:
                ring = self.rings[(worker.row.tenant_id, action)] = ActionRing()
            ring.workers.append(worker)

    def remove_worker(self, worker: Worker) -> None:
        """Forget a worker."""
        if self.workers.pop(worker.id, None) is None:
            return
        for action in dict.fromkeys(worker.row.actions):
            ring = self.rings[(worker.row.tenant_id, action)]
            ring.workers.remove(worker)
            if not ring.workers:
                del self.rings[(worker.row.tenant_id, action)]

    def forget(self, gone: Callable[[TenantId], bool]) -> None:
        """Forget the tenants of a lease that is gone. Tasks are marked: what still holds them stops."""
        for live in [live for live in self.tasks.values() if gone(live.facts.tenant_id)]:
            live.gone = True
            del self.tasks[live.id]
        for run in [run for run in self.runs.values() if gone(run.facts.tenant_id)]:
            del self.runs[run.id]
        for worker in [worker for worker in self.workers.values() if gone(worker.row.tenant_id)]:
            self.remove_worker(worker)
        for key in [key for key in self.queues if gone(TenantId(key[0]))]:
            del self.queues[key]
        self.pauses.forget(gone)
