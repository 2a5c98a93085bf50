"""Who runs what: waiting tasks are given to workers with free slots, woken by events only."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from functools import partial
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import Assigned, TaskState, TaskStatus
from broadaxe.engine.context import EngineContext
from broadaxe.engine.scheduler.live import LiveTask, Need
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.placing import choose
from broadaxe.engine.scheduler.queues import Queue
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.scheduler.writes import TaskWrites
from broadaxe.engine.tally import Tally

_IN_TURN = 8
"""Tasks a queue may have assigned before the next queue has its turn."""


class Scheduler:
    """Assigns waiting tasks in bounded turns of the event loop."""

    def __init__(self, context: EngineContext, memory: Memory, tally: Tally) -> None:
        self._clock = context.clock
        self._options = context.options
        self._memory = memory
        self._tally = tally
        self._writes: TaskWrites | None = None
        self._dirty: deque[Queue] = deque()
        self._planned = False
        self.stopped = False
        """While true nothing is assigned."""
        self.decides: Callable[[TenantId], bool] = lambda tenant_id: True
        """Whether this process assigns the tenant's tasks now."""
        self.on_grown: Callable[[Queue], None] = lambda queue: None
        """Told of a queue that a task came to."""
        self.on_shrunk: Callable[[Queue], None] = lambda queue: None
        """Told of a queue that a task left."""

    def use(self, writes: TaskWrites) -> None:
        """Write through this."""
        self._writes = writes

    def reserve(self, tenant_id: UUID, action: str, need: Need, task_id: UUID) -> Worker | None:
        """A worker for a task that is being created, its units taken; None when it has to wait."""
        if self.stopped or not self.decides(TenantId(tenant_id)):
            return None
        queue = self._memory.queues.get((tenant_id, action))
        if queue is not None and not queue.nobody_before(need):
            return None
        worker = choose(self._memory, self._options, tenant_id, action, need, self._clock.monotonic())
        if worker is not None:
            worker.hold(task_id, need.slots)
        return worker

    def release(self, worker: Worker, task_id: UUID) -> None:
        """Give a task's units back and offer them to who waits."""
        if worker.free(task_id):
            self.wake_worker(worker)

    def enqueue(self, live: LiveTask) -> None:
        """Let a task wait for a worker, or for the end of its workflow's pause."""
        if self._memory.pauses.park(live):
            return
        queue = self._memory.queue(*live.queue_key)
        if live.entry is None:
            queue.push(live)
            self.on_grown(queue)
        self.wake(queue)

    def remove(self, live: LiveTask) -> None:
        """Take a task out of its queue."""
        self._memory.pauses.leave(live)
        if live.entry is not None:
            queue = self._memory.queue(*live.queue_key)
            queue.remove(live)
            self.on_shrunk(queue)

    def wake(self, queue: Queue) -> None:
        """Look at a queue in the next turn."""
        if not queue.dirty:
            queue.dirty = True
            self._dirty.append(queue)
        self._plan()

    def wake_worker(self, worker: Worker) -> None:
        """A worker can take more: look at the queues it serves."""
        tenant_id = worker.row.tenant_id
        for action in worker.row.actions:
            queue = self._memory.queues.get((tenant_id, action))
            if queue is not None and queue.size:
                self.wake(queue)

    def clear(self) -> None:
        """Forget the plan."""
        for queue in self._dirty:
            queue.dirty = False
        self._dirty.clear()

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._planned = False
        if self.stopped:
            self.clear()
            return
        began = self._clock.monotonic()
        budget = self._options.assign_batch
        blocked: dict[Queue, set[Need]] = {}
        while self._dirty and budget > 0:
            queue = self._dirty.popleft()
            assigned, more = self._serve(
                queue, blocked.setdefault(queue, set()), min(budget, _IN_TURN), began
            )
            budget -= assigned
            if more:
                self._dirty.append(queue)
            else:
                queue.dirty = False
        self._tally.turn(self._clock.monotonic() - began)
        if self._dirty:
            self._plan()

    def _serve(self, queue: Queue, blocked: set[Need], limit: int, now: float) -> tuple[int, bool]:
        """Assign from one queue; how many, and whether it may have more to give."""
        assigned = 0
        if not self.decides(TenantId(queue.tenant_id)):
            return 0, False
        while assigned < limit:
            live = queue.first(blocked)
            if live is None:
                return assigned, False
            worker = choose(self._memory, self._options, queue.tenant_id, queue.action, live.need, now)
            if worker is None:
                blocked.add(live.need)
                continue
            queue.remove(live)
            self.on_shrunk(queue)
            self._assign(live, worker)
            assigned += 1
        return assigned, True

    def _assign(self, live: LiveTask, worker: Worker) -> None:
        assert self._writes is not None
        worker.hold(live.id, live.need.slots)
        live.assignments += 1
        future = self._writes.submit(live, Assigned(worker.row.id))
        future.add_done_callback(partial(self._assigned, live, worker, live.assignments))

    def _assigned(
        self, live: LiveTask, worker: Worker, number: int, future: "Future[TaskStatus | None]"
    ) -> None:
        if live.assignments != number:
            return  # it was given back already, and assigned anew
        if future.cancelled() or future.exception() is not None or future.result() is None:
            status = live.status
            if status.state is TaskState.ASSIGNED and status.worker_id == worker.id:
                return
            self.release(worker, live.id)
            # A refused write is tried again after a pause: `Lifecycle.failed` lets it wait anew.
            lost = future.cancelled() or future.exception() is not None
            if not lost and not live.gone and status.state is TaskState.QUEUED:
                self.enqueue(live)
