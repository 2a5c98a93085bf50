"""What follows a committed change of a task: queue, slots, timers, messages, watchers, spans, counts."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.task import (
    Assigned,
    CancelRequested,
    Decision,
    ExecutionTimedOut,
    Replayed,
    RetryDue,
    ScheduleTimedOut,
    SendFailed,
    Started,
    TaskEvent,
    TaskState,
    TaskStatus,
    WorkerLost,
)
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.dispatcher import Dispatcher
from broadaxe.engine.gate import Gate
from broadaxe.engine.runs.live_run import LiveRun, parents_of
from broadaxe.engine.scheduler.live import Delivery, LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.scheduler.writes import TaskWrites
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces, attempt_context, run_context
from broadaxe.store.ledger import Message, StoredTask
from broadaxe.store.run_ledger import ChangeResult, RunChange
from broadaxe.telemetry.context import TraceContext

_REASONS = {"Failed": "failure", "ExecutionTimedOut": "timeout", "WorkerLost": "worker_lost"}
_INTERNAL = (ExecutionTimedOut, ScheduleTimedOut, RetryDue, WorkerLost, SendFailed)
_LONGEST_PAUSE = 60.0
_SOON = 0.05
PAUSED_FOR_TOO_LONG = "Its workflow was paused for longer than the task may wait"


class Watchers(Protocol):
    """Who waits for the ends of runs."""

    def created(self, live: LiveTask) -> None:
        """A task was created or runs again."""

    def finished(self, live: LiveTask) -> None:
        """A task is final."""


class RunHooks(Protocol):
    """Runs of several steps: what follows from the end of one."""

    def following(self, live: LiveTask, decision: Decision, event: TaskEvent) -> RunChange | None:
        """What is to be written along with a decision."""

    def ended(self, live: LiveTask, event: TaskEvent, result: ChangeResult | bool) -> None:
        """A step's task is final, and that is committed."""

    def not_written(self, live: LiveTask) -> None:
        """A write did not hold, or was refused."""

    def doubt(self, run: LiveRun) -> None:
        """A row of the run was changed elsewhere."""


class Lifecycle:
    """Implements `Consequences`, and puts tasks into memory."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        timers: Timers,
        scheduler: Scheduler,
        dispatcher: Dispatcher,
        traces: RunTraces,
        tally: Tally,
        background: Background,
        watchers: tuple[Watchers, ...],
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._scheduler = scheduler
        self._dispatcher = dispatcher
        self._traces = traces
        self._tally = tally
        self._background = background
        self._watchers = watchers
        self._runs: RunHooks | None = None
        self._rows = RowReads(context, background)
        self._writes = TaskWrites(context, timers, self)
        scheduler.use(self._writes)
        dispatcher.use(self._writes)

    def use(self, runs: RunHooks) -> None:
        """Ask this about steps of runs."""
        self._runs = runs

    @property
    def writes(self) -> TaskWrites:
        """Where events go."""
        return self._writes

    def born(self, live: LiveTask, worker: Worker | None, chosen_at_depth: int) -> None:
        """A task was created, in its queue or already assigned."""
        self._memory.tasks[live.id] = live
        for watcher in self._watchers:
            watcher.created(live)
        if worker is not None:
            self._took(live, worker, chosen_at_depth)
            self._tally.assigned(live.facts.tenant_id, 0.0, queued=False)
        else:
            self._scheduler.enqueue(live)
        self._arm(live)

    def arrived(self, live: LiveTask) -> None:
        """A task that another engine created, or replayed, was read from its row."""
        for watcher in self._watchers:
            watcher.created(live)
        self.adopt(live)

    def passed_by(self, live: LiveTask) -> None:
        """A task became final elsewhere before it was ever in memory."""
        live.gone = True
        self._over(live)

    def adopt(self, live: LiveTask) -> None:
        """A task was read from its row: put it where its state says."""
        self._memory.tasks[live.id] = live
        status = live.status
        if status.state is TaskState.QUEUED:
            live.ahead = _ahead(status)
            self._scheduler.enqueue(live)
        elif status.state is TaskState.ASSIGNED and status.worker_id is not None:
            live.delivery = Delivery.DOUBTFUL if status.started_at is None else Delivery.SENT
            worker = self._memory.workers.get(status.worker_id)
            if worker is not None:
                worker.tasks[live.id] = live
                if not status.slot_released:
                    worker.hold(live.id, live.need.slots)
        self._arm(live)

    def readied(self, live: LiveTask, worker: Worker | None) -> None:
        """A step that is run again goes: it is in its queue, or already assigned."""
        live.delivery = Delivery.NONE
        live.order = self._memory.next_order()
        for watcher in self._watchers:
            watcher.created(live)
        if worker is not None:
            self._took(live, worker, 0)
            self._tally.assigned(live.facts.tenant_id, 0.0, queued=False)
        else:
            self._scheduler.enqueue(live)
        self._arm(live)

    def was_sent(self, live: LiveTask) -> None:
        """Its START went out of this process while another one scheduled the task."""
        if live.status.state is TaskState.ASSIGNED:
            live.delivery = Delivery.SENT

    # -- Consequences -----------------------------------------------------------------------------------

    def following(self, live: LiveTask, decision: Decision, event: TaskEvent) -> RunChange | None:
        """What is to be written along with a decision about a step of a run."""
        if live.run is None or self._runs is None:
            return None
        return self._runs.following(live, decision, event)

    def applied(
        self,
        live: LiveTask,
        before: TaskStatus,
        decision: Decision,
        event: TaskEvent,
        result: ChangeResult | bool,
    ) -> None:
        """It is committed."""
        after = live.status
        if isinstance(event, Replayed) and not self._revived(live):
            return
        if decision.cancel is not None:
            self._dispatcher.cancel(live, decision.cancel.worker_id, decision.cancel.attempt)
        self._move_slots(live, before, after)
        if after.attempt != before.attempt:
            self._next_attempt(live, before, decision, event)
        if after.state.final:
            self._ended(live, before, event)
            if live.run is not None and self._runs is not None:
                self._runs.ended(live, event, result)
            return
        if isinstance(event, Started):
            live.delivery = Delivery.SENT
        if after.state is TaskState.ASSIGNED:
            if before.state is not TaskState.ASSIGNED:
                self._assigned(live)
        elif after.state is TaskState.QUEUED and before.state is not TaskState.QUEUED:
            live.ahead = isinstance(event, SendFailed) or _ahead(after)
            live.delivery = Delivery.NONE
            self._scheduler.enqueue(live)
        self._arm(live)

    def stale(self, live: LiveTask, event: TaskEvent) -> None:
        """Nothing to do, but a due time that came a little early is set again."""
        if isinstance(event, ExecutionTimedOut | ScheduleTimedOut | RetryDue) and not live.gone:
            self._arm(live, _SOON)

    def conflicted(self, live: LiveTask, resume: Callable[[], None]) -> None:
        """Somebody else changed the row: read it again. Meanwhile it is not assigned."""
        self._not_written(live)
        self._scheduler.remove(live)
        self._background.spawn(self._reload(live, resume), "reading a task again")

    def failed(self, live: LiveTask, event: TaskEvent, error: BaseException) -> None:
        """The write was refused: internal events are tried again after a pause."""
        self._not_written(live)
        if live.gone:
            return
        pause = min(_LONGEST_PAUSE, self._options.retry_write * 2 ** min(live.failures - 1, 6))
        if isinstance(event, Assigned):
            self._timers.after(pause, partial(self._wait_again, live))
        elif isinstance(event, _INTERNAL):
            self._timers.after(pause, partial(self._again, live, event))
        elif isinstance(event, CancelRequested) and live.timer is None:
            # The end of a pause's patience: a person who cancels leaves the timer as it is.
            live.timer = self._timers.after(pause, partial(self._due, live, event))

    def messages_of(self, live: LiveTask, event: TaskEvent, status: TaskStatus) -> tuple[Message, ...]:
        """The order to send, when the worker listens at another engine."""
        if not isinstance(event, Assigned):
            return ()
        return self._dispatcher.orders(live, status)

    def trace_of(self, live: LiveTask, event: TaskEvent) -> TraceContext | None:
        """Writes about an assigned attempt belong to it, others to the run.

        So does an assignment: when another engine has cancelled the task meanwhile, there is no such attempt.
        """
        facts = live.facts
        if not facts.trace[24] & 1:
            return None
        if live.status.state is TaskState.ASSIGNED:
            return attempt_context(facts, live.status.attempt)
        return run_context(facts)

    # -- the rest ---------------------------------------------------------------------------------------

    def _not_written(self, live: LiveTask) -> None:
        if live.run is not None and self._runs is not None and not live.gone:
            self._runs.not_written(live)

    def _revived(self, live: LiveTask) -> bool:
        """A final task runs again: it enters memory, unless a rebuild has put it there."""
        if not self._gate.owns(live.facts.tenant_id) or live.id in self._memory.tasks:
            return False
        live.drop_input(self._options.kept_input)
        self._memory.tasks[live.id] = live
        for watcher in self._watchers:
            watcher.created(live)
        return True

    def _assigned(self, live: LiveTask) -> None:
        status = live.status
        worker = self._memory.workers.get(status.worker_id) if status.worker_id is not None else None
        queue = self._memory.queues.get(live.queue_key)
        if worker is not None:
            self._took(live, worker, queue.size if queue is not None else 0)
        else:
            self._dispatcher.start(live)
        assigned_at = status.assigned_at or status.queued_at
        waited = max(0.0, (assigned_at - status.queued_at).total_seconds())
        self._tally.assigned(live.facts.tenant_id, waited, queued=True)

    def _took(self, live: LiveTask, worker: Worker, depth: int) -> None:
        worker.hold(live.id, live.need.slots)
        worker.tasks[live.id] = live
        live.delivery = Delivery.NONE
        self._traces.assigned(live, live.status.assigned_at or live.status.queued_at, depth)
        self._dispatcher.start(live)

    def _move_slots(self, live: LiveTask, before: TaskStatus, after: TaskStatus) -> None:
        if before.state is not TaskState.ASSIGNED or before.worker_id is None:
            return
        worker = self._memory.workers.get(before.worker_id)
        if worker is None:
            return
        stays = after.state is TaskState.ASSIGNED and after.attempt == before.attempt
        if not stays:
            worker.tasks.pop(live.id, None)
        if not stays or after.slot_released:
            self._scheduler.release(worker, live.id)

    def _next_attempt(self, live: LiveTask, before: TaskStatus, decision: Decision, event: TaskEvent) -> None:
        live.delivery = Delivery.NONE
        live.order = self._memory.next_order()
        if decision.record is not None:
            self._traces.attempt_ended(live.facts, live.plan, decision.record)
            if isinstance(event, WorkerLost):
                self._traces.reassigned(live.facts, live.plan, decision.record)
        reason = _REASONS.get(type(event).__name__)
        if reason is not None:
            self._tally.retried(live.facts.tenant_id, reason)

    def _ended(self, live: LiveTask, before: TaskStatus, event: TaskEvent) -> None:
        self._timers.cancel(live.timer)
        live.timer = None
        self._scheduler.remove(live)
        self._memory.tasks.pop(live.id, None)
        live.gone = True
        if isinstance(event, ScheduleTimedOut):
            self._tally.scheduling_timed_out()
        self._over(live)

    def _over(self, live: LiveTask) -> None:
        """Counts, spans and watchers of an end, whoever wrote it."""
        after = live.status
        finished_at = after.finished_at or self._clock.now()
        seconds = max(0.0, (finished_at - live.facts.created_at).total_seconds())
        of_run = live.run is not None
        self._tally.finished(live.facts.tenant_id, after.state, seconds, of_run=of_run)
        self._traces.finished(live.facts, live.plan, after, parents=parents_of(live))
        for watcher in self._watchers:
            watcher.finished(live)

    def arm(self, live: LiveTask) -> None:
        """What it waits for is another: set its due time anew."""
        self._arm(live)

    def _arm(self, live: LiveTask, at_least: float = 0.0) -> None:
        """Set the one due time the task's state has."""
        self._timers.cancel(live.timer)
        status, now = live.status, self._clock.now()
        event: TaskEvent
        pause = self._memory.pauses.of(live)
        if status.state is TaskState.QUEUED and pause is not None and pause.active:
            left = (pause.expires(status.queued_at) - now).total_seconds()
            event = CancelRequested(status.attempt, PAUSED_FOR_TOO_LONG)
        elif status.state is TaskState.QUEUED:
            since = status.queued_at if pause is None else pause.waits_since(status.queued_at)
            waited = (now - since).total_seconds()
            left, event = live.plan.policy.schedule_timeout - waited, ScheduleTimedOut(status.attempt)
        elif status.state is TaskState.DELAYED and status.retry_at is not None:
            left, event = (status.retry_at - now).total_seconds(), RetryDue(status.attempt)
        elif status.state is TaskState.ASSIGNED and status.timeout_at is not None:
            left, event = (status.timeout_at - now).total_seconds(), ExecutionTimedOut(status.attempt)
        else:
            live.timer = None
            return
        live.timer = self._timers.after(max(left, at_least), partial(self._due, live, event))

    def _due(self, live: LiveTask, event: TaskEvent) -> None:
        live.timer = None
        if isinstance(event, ScheduleTimedOut | CancelRequested) and not live.gone:
            pause = self._memory.pauses.of(live)
            if (pause is not None and pause.active) is not isinstance(event, CancelRequested):
                self._arm(live)  # paused or resumed meanwhile
                return
        self._again(live, event)

    def _again(self, live: LiveTask, event: TaskEvent) -> None:
        if not live.gone:
            self._writes.submit(live, event)

    def _wait_again(self, live: LiveTask) -> None:
        if not live.gone and live.status.state is TaskState.QUEUED and not live.writing:
            self._scheduler.enqueue(live)

    async def _reload(self, live: LiveTask, resume: Callable[[], None]) -> None:
        """Read the row of a task that somebody else changed."""
        try:
            stored = await self._rows.get(live.facts.tenant_id, live.id)
        except BroadaxeError:
            if live.gone:
                resume()
                return
            pause = self._options.retry_write
            self._timers.after(pause, partial(self.conflicted, live, resume))
            return
        if not live.gone:
            self.follow(live, stored)
            if live.run is not None and self._runs is not None:
                self._runs.doubt(live.run)
        resume()

    def follow(self, live: LiveTask, stored: StoredTask | None) -> None:
        """Make memory of a task what its row says."""
        before, delivery = live.status, live.delivery
        self._scheduler.remove(live)
        self._timers.cancel(live.timer)
        live.timer = None
        if stored is not None:
            after = live.status = stored.status
            if before.worker_id is not None and _stopped(before, after):
                self._dispatcher.cancel(live, before.worker_id, before.attempt)
        # Also of an assignment that did not hold: only few tasks are read again.
        for worker in self._memory.workers.values():
            if live.id in worker.held or live.id in worker.tasks:
                worker.tasks.pop(live.id, None)
                self._scheduler.release(worker, live.id)
        if stored is None or stored.status.state.final:
            live.gone = True
            self._memory.tasks.pop(live.id, None)
            if live.run is not None:
                live.run.tasks.pop(live.plan.index, None)
            if stored is not None:
                self._over(live)
            return
        if stored.status.attempt != before.attempt:
            live.order = self._memory.next_order()
            live.delivery = Delivery.NONE
        self.adopt(live)
        if stored.status.state is TaskState.ASSIGNED and stored.status.attempt == before.attempt:
            live.delivery = Delivery.SENT if stored.status.started_at is not None else delivery


def _stopped(before: TaskStatus, after: TaskStatus) -> bool:
    """Whether an attempt that its worker may still run was given up by somebody else."""
    if before.state is not TaskState.ASSIGNED:
        return False
    if after.attempt == before.attempt:
        return after.state is TaskState.CANCELLED
    return after.internal_retries > before.internal_retries


def _ahead(status: TaskStatus) -> bool:
    """Retries go before tasks that wait for their first attempt; a replay is a first attempt."""
    return status.app_retries + status.internal_retries > 0
