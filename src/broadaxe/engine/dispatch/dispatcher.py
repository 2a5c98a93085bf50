"""Sends what was committed: STARTs and CANCELs to the newest open session of a task's worker."""

from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import Failed, SendFailed, TaskFacts, TaskState, TaskStatus, WorkerLost
from broadaxe.engine.api import ActionKind, WorkerAction
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.payload import cancel_action, object_members, start_action, start_payload
from broadaxe.engine.dispatch.sessions import Outlet, Session, Written
from broadaxe.engine.elsewhere.remote import RemoteSession
from broadaxe.engine.runs.payloads import load_payloads, step_payload
from broadaxe.engine.scheduler.live import Delivery, LiveTask, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.scheduler.writes import TaskWrites
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import Message

_LOST_IN_TRANSPORT = "The worker's stream ended while the task was being sent"


class Dispatcher:
    """Owns what happens to messages; implements `SessionOwner`."""

    def __init__(
        self,
        context: EngineContext,
        memory: Memory,
        scheduler: Scheduler,
        traces: RunTraces,
        tally: Tally,
        background: Background,
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._options = context.options
        self._memory = memory
        self._scheduler = scheduler
        self._traces = traces
        self._tally = tally
        self._background = background
        self._writes: TaskWrites | None = None
        self._loading: dict[TenantId, dict[UUID, LiveTask]] = {}
        self._stopping: dict[tuple[UUID, int], tuple[TaskFacts, StepPlan]] = {}
        """What a CANCEL on its way is about, for its span."""

    def use(self, writes: TaskWrites) -> None:
        """Write through this."""
        self._writes = writes

    def orders(self, live: LiveTask, status: TaskStatus) -> tuple[Message, ...]:
        """What must be committed with an assignment, when the worker listens at another engine: that engine's
        order to send."""
        worker = self._memory.workers.get(status.worker_id) if status.worker_id is not None else None
        session = _newest(worker) if worker is not None else None
        return (session.order(live.facts, status.attempt),) if isinstance(session, RemoteSession) else ()

    def start(self, live: LiveTask) -> None:
        """Send an assigned attempt; if no session takes it, it goes back to the queue."""
        worker = self._worker(live)
        ordered = worker is not None and any(
            isinstance(session, RemoteSession) and session.ordered(live.id, live.status.attempt)
            for session in worker.sessions
        )
        if ordered:
            live.delivery = Delivery.SENT
            live.drop_input(self._options.kept_input)
            return
        if live.run is not None:
            payload = step_payload(live)
        else:
            cause = object_members(live.facts.triggers)
            payload = None if live.input is None else start_payload(live.input, triggers=cause)
        if payload is None:
            self._load(live)
            return
        self._send(live, payload)

    def _send(self, live: LiveTask, payload: bytes) -> None:
        if len(payload) > self._options.payload_limit and live.run is not None:
            assert self._writes is not None
            text = f"The input and the parents' outputs are larger than {self._options.payload_limit} bytes"
            self._writes.submit(live, Failed(live.status.attempt, text.encode(), should_not_retry=True))
            return
        worker = self._worker(live)
        action = start_action(live, payload, self._traces.worker_traceparent(live))
        if worker is not None and _offer(worker, action):
            live.delivery = Delivery.OUTBOX
            return
        self._unsent(live)

    def cancel(self, live: LiveTask, worker_id: UUID, attempt: int) -> None:
        """Tell a worker to stop an attempt, or take its START back if it never left."""
        worker = self._memory.workers.get(worker_id)
        if worker is None:
            return
        if any(session.withdraw(live.id, attempt) for session in worker.sessions):
            return
        if live.delivery is Delivery.NONE:
            return
        action = cancel_action(live.facts, live.plan, attempt)
        if _offer(worker, action):
            self._stopping[(live.id, attempt)] = (live.facts, live.plan)
        elif len(worker.cancels) < self._options.outbox_limit:
            worker.cancels.append(action)

    def opened(self, worker: Worker, session: Outlet) -> None:
        """A session is there: what should have been stopped meanwhile is told first."""
        cancels, worker.cancels = worker.cancels, []
        for action in cancels:
            session.offer(action)

    # -- SessionOwner -----------------------------------------------------------------------------------

    def handed(self, session: Session, action: WorkerAction) -> None:
        """The transport took a message."""
        live = self._current(action)
        if live is not None:
            live.delivery = Delivery.HANDED

    def written(self, session: Session, written: Written) -> None:
        """A message is on the stream."""
        action = written.action
        if action.kind is ActionKind.CANCEL:
            about = self._stopping.pop((action.task_id, action.attempt), None)
            if about is not None:
                self._traces.written(*about, session, written)
            return
        live = self._current(action)
        if live is None:
            return
        live.delivery = Delivery.SENT
        live.drop_input(self._options.kept_input)
        self._traces.written(live.facts, live.plan, session, written)
        if action.attempt == 0:
            self._tally.sent((self._clock.now() - live.facts.created_at).total_seconds())

    def room_made(self, session: Session) -> None:
        """A full outbox takes messages again."""
        worker = self._memory.workers.get(session.worker_id)
        if worker is not None:
            self._scheduler.wake_worker(worker)

    def closed(self, session: Session, unsent: list[WorkerAction], doubtful: list[WorkerAction]) -> None:
        """A session is over: what it did not send goes to another one, or back to the queue."""
        worker = self._memory.workers.get(session.worker_id)
        if worker is not None and session in worker.sessions:
            worker.sessions.remove(session)
        for action in unsent:
            if action.kind is ActionKind.CANCEL:
                self._stopping.pop((action.task_id, action.attempt), None)
                if worker is not None and not _offer(worker, action):
                    worker.cancels.append(action)
                continue
            live = self._current(action)
            if live is not None and (worker is None or not _offer(worker, action)):
                self._unsent(live)
        for action in doubtful:
            self._stopping.pop((action.task_id, action.attempt), None)
            live = self._current(action)
            # It may have arrived, so this attempt is never sent again: another one follows. Unless the worker
            # told of its start, faster than the transport of its writing.
            if live is not None and live.held is None and live.status.started_at is None:
                self._submit_lost(live, action.attempt)

    # -- the rest ---------------------------------------------------------------------------------------

    def _submit_lost(self, live: LiveTask, attempt: int) -> None:
        assert self._writes is not None
        self._writes.submit(live, WorkerLost(attempt, _LOST_IN_TRANSPORT))

    def _unsent(self, live: LiveTask) -> None:
        assert self._writes is not None
        live.delivery = Delivery.NONE
        self._writes.submit(live, SendFailed())

    def _worker(self, live: LiveTask) -> Worker | None:
        worker_id = live.status.worker_id
        return self._memory.workers.get(worker_id) if worker_id is not None else None

    def _current(self, action: WorkerAction) -> LiveTask | None:
        """The live task of a START, if it is still about the attempt that is assigned."""
        if action.kind is not ActionKind.START:
            return None
        live = self._memory.tasks.get(action.task_id)
        if (
            live is None
            or live.status.state is not TaskState.ASSIGNED
            or live.status.attempt != action.attempt
        ):
            return None
        return live

    def _load(self, live: LiveTask) -> None:
        tenant_id = live.facts.tenant_id
        waiting = self._loading.get(tenant_id)
        if waiting is None:
            waiting = self._loading[tenant_id] = {}
            self._background.spawn(self._load_all(tenant_id), "loading inputs")
        waiting[live.id] = live

    async def _load_all(self, tenant_id: TenantId) -> None:
        waiting = self._loading.pop(tenant_id)
        attempts = {live.id: live.status.attempt for live in waiting.values()}
        payloads: dict[UUID, bytes] = {}
        failed = False
        try:
            payloads = await load_payloads(self._ledger, tenant_id, list(waiting.values()))
        except BroadaxeError:
            failed = True
        for task_id, live in waiting.items():
            status = live.status
            if live.gone or status.state is not TaskState.ASSIGNED or status.attempt != attempts[task_id]:
                continue
            payload = payloads.get(task_id)
            if payload is not None:
                self._send(live, payload)
            elif failed:
                self._unsent(live)
            else:
                assert self._writes is not None
                self._writes.submit(live, Failed(status.attempt, b"The task's input is missing", True))


def _newest(worker: Worker) -> Outlet | None:
    """The session that the next message is offered to first."""
    return next((session for session in reversed(worker.sessions) if session.has_room), None)


def _offer(worker: Worker, action: WorkerAction) -> bool:
    """Give a message to the newest session that takes it."""
    return any(session.offer(action) for session in reversed(worker.sessions))
