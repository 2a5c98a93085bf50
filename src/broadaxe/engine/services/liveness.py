"""Tells dead workers from silent ones, and settles what nobody knows about tasks of a returned worker."""

from functools import partial

from broadaxe.domain.task import TaskState, WorkerLost
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.live import Delivery, LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.scheduler.writes import TaskWrites

_DOUBT = "It is not known whether the worker got the task"
_SOON = 0.05


class Liveness:
    """One due time a worker: 30 s after the later of its last heartbeat and this engine's readiness."""

    def __init__(
        self, context: EngineContext, gate: Gate, memory: Memory, timers: Timers, writes: TaskWrites
    ) -> None:
        self._clock = context.clock
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._writes = writes

    def watch(self, worker: Worker) -> None:
        """Expect signs of life from now on."""
        if worker.dead_timer is None:
            worker.dead_timer = self._timers.after(self._left(worker), partial(self._check, worker))

    def returned(self, worker: Worker) -> None:
        """A worker opened a session, or lost one of several: it has a moment to report what it was sent.

        What was written to a stream may have been lost on the way with the connection, and what a process
        sent that is gone may never have left it.
        """
        doubtful = [(live, live.status.attempt) for live in worker.tasks.values() if _in_doubt(live)]
        if doubtful:
            self._timers.after(self._options.doubt, partial(self._settle, doubtful))

    def lost(self, worker: Worker, reason: str) -> None:
        """Take everything from a worker that is gone, except what gave its slot back."""
        for live in list(worker.tasks.values()):
            if not live.status.slot_released:
                self._writes.submit(live, WorkerLost(live.status.attempt, reason))

    def _left(self, worker: Worker) -> float:
        since = max(worker.seen, self._gate.since(worker.row.tenant_id))
        return since + self._options.dead_after - self._clock.monotonic()

    def _check(self, worker: Worker) -> None:
        worker.dead_timer = None
        if self._memory.workers.get(worker.id) is not worker:
            return
        if self._left(worker) > 0:
            self.watch(worker)
            return
        for session in list(worker.sessions):
            session.end()
        self.lost(worker, f"No heartbeat of worker {worker.row.name} for {self._options.dead_after:g}s")
        if not worker.tasks and not worker.held:
            self._memory.remove_worker(worker)
        else:
            # Its tasks leave with their commits; look again whether it can be forgotten.
            worker.dead_timer = self._timers.after(self._options.dead_after, partial(self._check, worker))

    def _settle(self, doubtful: list[tuple[LiveTask, int]]) -> None:
        if self._gate.draining:
            return
        undecided: list[tuple[LiveTask, int]] = []
        for live, attempt in doubtful:
            if live.gone or live.status.attempt != attempt or not _in_doubt(live):
                continue
            if live.writing:
                # It may be the report itself that is being written.
                undecided.append((live, attempt))
            else:
                self._writes.submit(live, WorkerLost(attempt, _DOUBT))
        if undecided:
            self._timers.after(_SOON, partial(self._settle, undecided))


def _in_doubt(live: LiveTask) -> bool:
    return (
        live.delivery in (Delivery.SENT, Delivery.DOUBTFUL)
        and live.status.state is TaskState.ASSIGNED
        and live.status.started_at is None
        and live.held is None
        and not live.status.slot_released
    )
