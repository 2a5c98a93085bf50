"""Workers that listen here while another engine schedules their tenant."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError, FailedPrecondition, NotFound
from broadaxe.domain.ids import EngineId, TenantId, WorkerId
from broadaxe.domain.task import SendFailed, TaskEvent, TaskFacts, TaskState, WorkerLost
from broadaxe.domain.workflow import LabelValue
from broadaxe.engine.api import ActionKind, WorkerAction
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.payload import cancel_action, object_members, start_action, start_payload
from broadaxe.engine.dispatch.sessions import Session, Written
from broadaxe.engine.elsewhere.bodies import Attempt, SessionAt, Workers
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.elsewhere.rows import RowsElsewhere
from broadaxe.engine.gate import Gate
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.restore import stored_payload
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import Message, MessageKind, StoredTask

_TICK = timedelta(microseconds=1)
_KNOWN = 20_000
"""Tasks that were sent from here and whose facts are kept, for what their workers report."""
_LOST_IN_TRANSPORT = "The worker's stream ended while the task was being sent"


class Guests:
    """Their streams and signs of life. Implements `SessionOwner`.

    The rules of delivery are those of the dispatcher; what they ask for is written to the rows of tasks.
    """

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        held: HeldCalls,
        timers: Timers,
        catalog: Catalog,
        rows: RowsElsewhere,
        traces: RunTraces,
        tally: Tally,
        outgoing: Outgoing,
        background: Background,
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._ids = context.ids
        self._options = context.options
        self._me = context.options.engine_id
        self._gate = gate
        self._held = held
        self._timers = timers
        self._catalog = catalog
        self._rows = rows
        self._traces = traces
        self._tally = tally
        self._outgoing = outgoing
        self._background = background
        self._sent: OrderedDict[tuple[UUID, int], None] = OrderedDict()
        self._known: OrderedDict[UUID, tuple[TaskFacts, StepPlan]] = OrderedDict()
        self._beats: dict[tuple[TenantId, EngineId], dict[UUID, None]] = {}
        self.workers: dict[UUID, Worker] = {}

    # -- calls of workers ---------------------------------------------------------------------------------

    async def open_session(self, tenant_id: TenantId, worker_id: UUID) -> Session:
        """A worker listens. NotFound; Unavailable when draining."""
        await self._gate.wait()
        row = await self._held.run(lambda: self._ledger.get_worker(tenant_id, WorkerId(worker_id)))
        if row is None:
            raise NotFound(f"worker {worker_id} not found")
        opened_at = self._clock.now()
        if row.listening_since is not None and opened_at <= row.listening_since:
            opened_at = row.listening_since + _TICK
        await self._held.run(lambda: self._ledger.set_session(tenant_id, row.id, opened_at, True))
        await self._gate.wait()
        worker = self.workers.get(worker_id)
        if worker is None:
            worker = self.workers[worker_id] = Worker(row, self._clock.monotonic())
        limits = self._options.outbox_limit, self._options.outbox_bytes
        session = Session(self._ids.uuid4(), worker_id, opened_at, *limits, self)
        worker.sessions.append(session)
        self._alive(worker)
        self._listen_for(worker)
        self.announce(worker)
        return session

    async def heartbeat(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """A sign of life. NotFound; FailedPrecondition tells the worker to open its stream again."""
        worker = self.workers.get(worker_id)
        if worker is not None and worker.row.tenant_id == tenant_id and worker.sessions:
            if worker.silent:
                worker.silent = False
                self._tell(tenant_id, MessageKind.WORKER_BEATS, Workers([worker_id], self._me))
            self._alive(worker)
            self._listen_for(worker)
            return
        await self._gate.wait(admit_draining=True)
        row = await self._ledger.get_worker(tenant_id, WorkerId(worker_id))
        if row is None:
            raise NotFound(f"worker {worker_id} not found")
        at = row.engine_id
        if at is not None and at != self._me and self._ledger.fleet.alive(at):
            self.pass_on_beat(tenant_id, at, worker_id)
        elif row.listening_since is not None or row.last_heartbeat_at is not None:
            raise FailedPrecondition("the worker has no open stream here; open it again")

    async def unsubscribe(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """The worker leaves: its sessions end. NotFound."""
        row = await self._ledger.get_worker(tenant_id, WorkerId(worker_id))
        if row is None:
            raise NotFound(f"worker {worker_id} not found")
        if row.engine_id is not None and row.engine_id != self._me:
            body = msgspec.json.encode(Workers([worker_id]))
            self._outgoing.post(Message(tenant_id, MessageKind.END_SESSION, body, None, row.engine_id))
        self.end(tenant_id, worker_id)

    async def upsert_labels(
        self, tenant_id: TenantId, worker_id: UUID, labels: dict[str, LabelValue]
    ) -> None:
        """Set labels by key, and tell the owner. NotFound."""
        if await self._ledger.put_labels(tenant_id, WorkerId(worker_id), labels) is None:
            raise NotFound(f"worker {worker_id} not found")
        await self.changed(tenant_id, worker_id)

    async def changed(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """Its row was changed: the owner reads it again."""
        body = msgspec.json.encode({"worker_id": worker_id})
        await self._ledger.post([Message(tenant_id, MessageKind.WORKER_CHANGED, body)])

    # -- orders of owners ---------------------------------------------------------------------------------

    async def send(self, tenant_id: TenantId, orders: Sequence[Attempt]) -> None:
        """Send what is assigned to workers that listen here. What the rows do not say any more is dropped."""
        wanted = {(one.task_id, one.attempt): one for one in orders}
        fresh = [one for key, one in wanted.items() if key not in self._sent]
        if not fresh:
            return
        rows = await self._ledger.get_tasks(tenant_id, [one.task_id for one in fresh])
        found: dict[UUID, StoredTask] = {row.facts.id: row for row in rows}
        unsent: list[tuple[StoredTask, Attempt]] = []
        for one in fresh:
            row = found.get(one.task_id)
            if row is None or not _is_still(row, one):
                continue
            plan = await self._catalog.step(tenant_id, row.facts.version_id, row.facts.step_id)
            payload = None if plan is None else await self._payload(row, plan)
            if plan is not None and payload is not None and not self._start(row, plan, one, payload):
                unsent.append((row, one))
        for row, one in unsent:
            await self._give_up(row, one.attempt, one.worker_id, SendFailed())

    async def stop(self, tenant_id: TenantId, order: Attempt) -> None:
        """Tell a worker to stop an attempt, or take its START back if it never left."""
        worker = self.workers.get(order.worker_id)
        if worker is None or worker.row.tenant_id != tenant_id:
            return
        if any(session.withdraw(order.task_id, order.attempt) for session in worker.sessions):
            return
        known = self._known.get(order.task_id)
        if known is None:
            row = await self._ledger.get_task(tenant_id, order.task_id)
            if row is None:
                return
            plan = await self._catalog.step(tenant_id, row.facts.version_id, row.facts.step_id)
            if plan is None:
                return
            known = (row.facts, plan)
        facts, plan = known
        _offer(worker, cancel_action(facts, plan, order.attempt))

    def beat(self, ids: Iterable[UUID]) -> None:
        """Heartbeats of workers that listen here reached another engine."""
        for worker in (self.workers[one] for one in ids if one in self.workers):
            if worker.silent:
                worker.silent = False
                self._tell(worker.row.tenant_id, MessageKind.WORKER_BEATS, Workers([worker.id], self._me))
            self._alive(worker)

    def end(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """End a worker's streams."""
        worker = self.workers.get(worker_id)
        if worker is not None and worker.row.tenant_id == tenant_id:
            for session in list(worker.sessions):
                session.end()

    def pass_on_beat(self, tenant_id: TenantId, engine_id: EngineId, worker_id: UUID) -> None:
        """Tell the engine where a worker listens of its heartbeat; those of half a second together."""
        waiting = self._beats.get((tenant_id, engine_id))
        if waiting is None:
            waiting = self._beats[(tenant_id, engine_id)] = {}
            self._timers.after(0.5, partial(self._pass_on, tenant_id, engine_id))
        waiting[worker_id] = None

    # -- coming and going of leases -----------------------------------------------------------------------

    def announce(self, worker: Worker) -> None:
        """Tell the owner where it listens."""
        for session in worker.sessions:
            body = SessionAt(worker.id, self._me, session.opened_at)
            self._tell(worker.row.tenant_id, MessageKind.SESSION_OPENED, body)

    def announce_all(self) -> None:
        """The owners may have taken this engine for dead."""
        for worker in self.workers.values():
            self.announce(worker)

    def take_in(self, worker: Worker) -> None:
        """Its tenant's lease is gone from here; its streams stay open."""
        for live in worker.tasks.values():
            self._know(live.facts, live.plan)
            if live.status.state is TaskState.ASSIGNED:
                self._remember((live.id, live.status.attempt))
        worker.sessions = [session for session in worker.sessions if isinstance(session, Session)]
        if not worker.sessions:
            return
        guest = self.workers[worker.id] = Worker(worker.row, worker.seen)
        for session in worker.sessions:
            assert isinstance(session, Session)
            session.owner = self
            guest.sessions.append(session)
        self._alive(guest)
        self._listen_for(guest)
        self.announce(guest)

    def leave(self, partition: int) -> list[Worker]:
        """The partition is owned here now: its workers are guests no more."""
        gone = [
            worker
            for worker in self.workers.values()
            if self._gate.partition(worker.row.tenant_id) == partition
        ]
        for worker in gone:
            self._timers.cancel(worker.dead_timer)
            del self.workers[worker.id]
        return gone

    def end_sessions(self) -> None:
        """The process drains: every stream ends cleanly."""
        for worker in list(self.workers.values()):
            for session in list(worker.sessions):
                session.end()

    def sent(self, task_id: UUID, attempt: int) -> bool:
        """Whether the attempt was handed to a stream here."""
        return (task_id, attempt) in self._sent

    # -- SessionOwner -------------------------------------------------------------------------------------

    def handed(self, session: Session, action: WorkerAction) -> None:
        """The transport took a message."""

    def written(self, session: Session, written: Written) -> None:
        """A message is on the stream."""
        action = written.action
        known = self._known.get(action.task_id)
        if known is None:
            return
        self._traces.written(*known, session, written)
        if action.kind is ActionKind.START and action.attempt == 0:
            self._tally.sent((self._clock.now() - known[0].created_at).total_seconds())

    def room_made(self, session: Session) -> None:
        """A full outbox takes messages again: the owner finds out when it sends the next."""

    def closed(self, session: Session, unsent: list[WorkerAction], doubtful: list[WorkerAction]) -> None:
        """A session is over: what it did not send goes to another one, or back to the queue."""
        worker = self.workers.get(session.worker_id)
        first = worker is not None and session in worker.sessions
        if worker is not None and first:
            worker.sessions.remove(session)
        self._background.spawn(
            self._settle(worker if first else None, session, unsent, doubtful),
            "settling a session that ended",
        )

    async def _settle(
        self,
        worker: Worker | None,
        session: Session,
        unsent: list[WorkerAction],
        doubtful: list[WorkerAction],
    ) -> None:
        for action in unsent:
            if worker is None or not _offer(worker, action):
                await self._undo(session, action, SendFailed())
        for action in doubtful:
            # It may have arrived, so this attempt is never sent again: another one follows.
            await self._undo(session, action, WorkerLost(action.attempt, _LOST_IN_TRANSPORT))
        if worker is None:
            return
        tenant_id = worker.row.tenant_id
        if not worker.sessions and self.workers.get(worker.id) is worker:
            self._timers.cancel(worker.dead_timer)
            del self.workers[worker.id]
        body = SessionAt(worker.id, self._me, session.opened_at)
        self._tell(tenant_id, MessageKind.SESSION_CLOSED, body)
        await self._ledger.set_session(tenant_id, worker.row.id, session.opened_at, False)

    async def _undo(self, session: Session, action: WorkerAction, event: TaskEvent) -> None:
        if action.kind is not ActionKind.START:
            return
        row = await self._held.run(lambda: self._ledger.get_task(action.tenant_id, action.task_id))
        if row is not None:
            await self._give_up(row, action.attempt, session.worker_id, event)

    # -- the rest -----------------------------------------------------------------------------------------

    async def _payload(self, row: StoredTask, plan: StepPlan) -> bytes | None:
        """What its worker gets; of a step of a run also what its parents left. None when the run is gone."""
        facts = row.facts
        if plan.dag is None:
            return start_payload(facts.input, triggers=object_members(facts.triggers))
        whole = await self._ledger.get_whole_run(facts.tenant_id, facts.run_id)
        return None if whole is None else stored_payload(whole, plan)

    def _start(self, row: StoredTask, plan: StepPlan, order: Attempt, payload: bytes) -> bool:
        worker = self.workers.get(order.worker_id)
        if worker is None:
            return False
        live = LiveTask(row.facts, row.status, plan, need_of(plan, row.facts), 0, row.facts.input)
        action = start_action(live, payload, self._traces.worker_traceparent(live))
        if not _offer(worker, action):
            return False
        self._remember((order.task_id, order.attempt))
        live.drop_input(self._options.kept_input)
        self._know(live.facts, plan)
        return True

    async def _give_up(self, row: StoredTask, attempt: int, worker_id: UUID, event: TaskEvent) -> None:
        order = Attempt(row.facts.id, attempt, worker_id)

        def still(current: StoredTask) -> TaskEvent | None:
            begun = current.status.started_at is not None or current.status.slot_released
            return event if _is_still(current, order) and not begun else None

        self._sent.pop((row.facts.id, attempt), None)
        try:
            await self._rows.change([row], still)
        except BroadaxeError:
            self._remember((row.facts.id, attempt))
            raise

    def _remember(self, key: tuple[UUID, int]) -> None:
        self._sent[key] = None
        if len(self._sent) > _KNOWN:
            self._sent.popitem(last=False)

    def _know(self, facts: TaskFacts, plan: StepPlan) -> None:
        self._known[facts.id] = (facts, plan)
        self._known.move_to_end(facts.id)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _alive(self, worker: Worker) -> None:
        worker.beat = worker.seen = self._clock.monotonic()
        worker.beat_at = self._clock.now()

    def _listen_for(self, worker: Worker) -> None:
        """One due time a worker: the owner is told when it was not heard of for too long."""
        if worker.dead_timer is None:
            worker.dead_timer = self._timers.after(self._options.fresh, partial(self._check, worker))

    def _check(self, worker: Worker) -> None:
        worker.dead_timer = None
        if self.workers.get(worker.id) is not worker or worker.beat is None:
            return
        left = worker.beat + self._options.fresh - self._clock.monotonic()
        if left > 0:
            worker.dead_timer = self._timers.after(left, partial(self._check, worker))
        elif not worker.silent:
            worker.silent = True
            self._tell(worker.row.tenant_id, MessageKind.WORKER_SILENT, Workers([worker.id], self._me))

    def _pass_on(self, tenant_id: TenantId, engine_id: EngineId) -> None:
        waiting = self._beats.pop((tenant_id, engine_id), {})
        body = msgspec.json.encode(Workers(list(waiting)))
        self._outgoing.post(Message(tenant_id, MessageKind.BEAT_ELSEWHERE, body, None, engine_id))

    def _tell(self, tenant_id: TenantId, kind: MessageKind, body: msgspec.Struct) -> None:
        """A message for the tenant's owner."""
        self._outgoing.post(Message(tenant_id, kind, msgspec.json.encode(body)))


def _is_still(row: StoredTask, order: Attempt) -> bool:
    """Whether the attempt is the one that is assigned to that worker."""
    status = row.status
    return (
        status.state is TaskState.ASSIGNED
        and status.attempt == order.attempt
        and status.worker_id == order.worker_id
    )


def _offer(worker: Worker, action: WorkerAction) -> bool:
    return any(session.offer(action) for session in reversed(worker.sessions))
