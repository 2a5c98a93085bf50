"""The workers' desk: they register, listen, beat, change their labels and leave."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from uuid import UUID

from broadaxe.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.naming import normalise_action
from broadaxe.domain.workflow import LabelValue
from broadaxe.engine.api import NewWorker, WorkerAction
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.dispatcher import Dispatcher
from broadaxe.engine.dispatch.sessions import Outlet, Session, Written
from broadaxe.engine.gate import Gate, Moved
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.scheduler.live import Delivery
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.services.liveness import Liveness
from broadaxe.store.ledger import WorkerRow

_NAME_LIMIT = 1_024
_ACTION_LIMIT = 10_000
_TICK = timedelta(microseconds=1)


class WorkerDesk:
    """Serves the calls of workers; implements `SessionOwner` on top of the dispatcher."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        held: HeldCalls,
        memory: Memory,
        scheduler: Scheduler,
        dispatcher: Dispatcher,
        liveness: Liveness,
        background: Background,
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._ids = context.ids
        self._options = context.options
        self._gate = gate
        self._held = held
        self._memory = memory
        self._scheduler = scheduler
        self._dispatcher = dispatcher
        self._liveness = liveness
        self._background = background

    async def register(self, tenant_id: TenantId, new: NewWorker) -> WorkerId:
        """Store a new worker. InvalidArgument for a bad field."""
        if not new.name or len(new.name) > _NAME_LIMIT or "\x00" in new.name:
            raise InvalidArgument(f"worker_name: must have 1 to {_NAME_LIMIT} characters")
        if len(new.actions) > _ACTION_LIMIT:
            raise InvalidArgument(f"actions: at most {_ACTION_LIMIT}")
        for kind, units in new.slots.items():
            if units < 0:
                raise InvalidArgument(f"slot_config[{kind!r}]: must not be negative")
        _require_storable("actions", new.actions)
        _require_storable("slot_config", new.slots)
        _require_storable("labels", _texts_of(new.labels))
        _require_storable("runtime_info", new.runtime.values())
        await self._gate.wait()
        row = WorkerRow(
            tenant_id=tenant_id,
            id=WorkerId(self._ids.uuid4()),
            name=new.name,
            actions=tuple(dict.fromkeys(map(_queue_key, new.actions))),
            slots=dict(new.slots),
            labels=dict(new.labels),
            runtime=dict(new.runtime),
            registered_at=self._clock.now(),
        )
        await self._ledger.add_worker(row)
        if self._gate.owns(tenant_id) and row.id not in self._memory.workers:
            worker = Worker(row, self._clock.monotonic())
            self._memory.add_worker(worker)
            self._liveness.watch(worker)
        return row.id

    async def open_session(self, tenant_id: TenantId, worker_id: UUID) -> Session:
        """A worker listens. NotFound; Unavailable when draining."""
        await self._gate.wait()
        worker = await self._held.run(lambda: self.find(tenant_id, worker_id))
        opened_at = self._clock.now()
        if worker.sessions and opened_at <= worker.sessions[-1].opened_at:
            # The newest wins by its time, so no two may be equal.
            opened_at = worker.sessions[-1].opened_at + _TICK
        row_id = worker.row.id
        await self._held.run(lambda: self._ledger.set_session(tenant_id, row_id, opened_at, True))
        await self._gate.wait()
        worker = await self.find(tenant_id, worker_id)
        session = Session(
            self._ids.uuid4(),
            worker_id,
            opened_at,
            self._options.outbox_limit,
            self._options.outbox_bytes,
            self,
        )
        now = self._clock.monotonic()
        worker.sessions.append(session)
        worker.had_session = True
        worker.silent = False
        worker.beat = worker.seen = now
        worker.beat_at = opened_at
        self.welcome(worker, session)
        return session

    def welcome(self, worker: Worker, session: Outlet) -> None:
        """A session is there, here or at another engine: what waited for it goes on."""
        self._liveness.watch(worker)
        self._dispatcher.opened(worker, session)
        self._liveness.returned(worker)
        self._scheduler.wake_worker(worker)

    def doubt(self, worker: Worker) -> None:
        """One of several sessions is over: what was sent on it may have been lost."""
        self._liveness.returned(worker)

    def settle_in(self, worker: Worker) -> None:
        """Its tenant's memory was rebuilt while its streams were open: nobody knows how far what it was sent
        got, but for what still waits in a stream here."""
        for live in worker.tasks.values():
            for session in worker.sessions:
                if isinstance(session, Session):
                    where = session.delivery_of(live.id, live.status.attempt)
                    if where is not None:
                        live.delivery = Delivery.OUTBOX if where == "outbox" else Delivery.HANDED
        self._liveness.watch(worker)
        self._liveness.returned(worker)
        self._scheduler.wake_worker(worker)

    async def heartbeat(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """A sign of life. NotFound; FailedPrecondition tells the worker to open its stream again."""
        worker = self._memory.worker(tenant_id, worker_id)
        if worker is None:
            await self._gate.wait(admit_draining=True)
            worker = await self.find(tenant_id, worker_id)
        now = self._clock.monotonic()
        worker.seen = now
        worker.beat_at = self._clock.now()
        self._liveness.watch(worker)
        if worker.had_session and not worker.sessions:
            raise FailedPrecondition("the worker has no open stream here; open it again")
        silent = worker.beat is None or now - worker.beat >= self._options.fresh
        worker.beat = now
        if silent:
            self._scheduler.wake_worker(worker)

    async def unsubscribe(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """The worker leaves: its sessions end, what it runs stays with it. NotFound."""
        await self._gate.wait(admit_draining=True)
        worker = await self.find(tenant_id, worker_id)
        for session in list(worker.sessions):
            session.end()

    async def upsert_labels(
        self, tenant_id: TenantId, worker_id: UUID, labels: dict[str, LabelValue]
    ) -> None:
        """Set labels by key. NotFound, InvalidArgument."""
        _require_storable("labels", _texts_of(labels))
        await self._gate.wait(admit_draining=True)
        after = await self._ledger.put_labels(tenant_id, WorkerId(worker_id), labels)
        if after is None:
            raise NotFound(f"worker {worker_id} not found")
        worker = self._memory.worker(tenant_id, worker_id)
        if worker is not None:
            worker.relabel(after)
            self._scheduler.wake_worker(worker)

    async def changed(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """Its row was changed by somebody else: read it again."""
        worker = self._memory.worker(tenant_id, worker_id)
        if worker is None:
            return
        row = await self._ledger.get_worker(tenant_id, WorkerId(worker_id))
        if row is not None:
            worker.relabel(row.labels, row.paused)
            self._scheduler.wake_worker(worker)

    def end_sessions(self) -> None:
        """The process drains: every stream that is here ends cleanly. Those at other engines go on."""
        for worker in list(self._memory.workers.values()):
            for session in list(worker.sessions):
                if isinstance(session, Session):
                    session.end()

    async def find(self, tenant_id: TenantId, worker_id: UUID) -> Worker:
        """A worker, read from its row if it is not in memory. NotFound."""
        worker = self._memory.worker(tenant_id, worker_id)
        if worker is not None:
            return worker
        row = await self._ledger.get_worker(tenant_id, WorkerId(worker_id))
        if row is None:
            raise NotFound(f"worker {worker_id} not found")
        known = self._memory.worker(tenant_id, worker_id)
        if known is not None:
            return known
        if not self._gate.owns(tenant_id):
            raise Moved("the tenant is scheduled by another engine now")
        worker = Worker(row, self._clock.monotonic())
        self._memory.add_worker(worker)
        self._liveness.watch(worker)
        return worker

    # -- SessionOwner -----------------------------------------------------------------------------------

    def handed(self, session: Session, action: WorkerAction) -> None:
        """The transport took a message."""
        self._dispatcher.handed(session, action)

    def written(self, session: Session, written: Written) -> None:
        """A message is on the stream."""
        self._dispatcher.written(session, written)

    def room_made(self, session: Session) -> None:
        """A full outbox takes messages again."""
        self._dispatcher.room_made(session)

    def closed(self, session: Session, unsent: list[WorkerAction], doubtful: list[WorkerAction]) -> None:
        """A session is over; its row says so unless a newer one was opened."""
        worker = self._memory.workers.get(session.worker_id)
        first = worker is not None and session in worker.sessions
        self._dispatcher.closed(session, unsent, doubtful)
        if worker is not None and worker.sessions:
            self._liveness.returned(worker)
        if first and worker is not None:
            self._background.spawn(self._record_close(worker, session), "recording the end of a session")

    async def _record_close(self, worker: Worker, session: Session) -> None:
        await self._ledger.set_session(worker.row.tenant_id, worker.row.id, session.opened_at, False)


def _queue_key(action: str) -> str:
    """The action as registered workflows have it; one of another form can never be asked for, and is kept."""
    try:
        return normalise_action(action)
    except InvalidArgument:
        return action


def _texts_of(labels: Mapping[str, LabelValue]) -> Iterator[str]:
    yield from labels
    yield from (value.text for value in labels.values() if value.text is not None)


def _require_storable(field: str, texts: Iterable[str]) -> None:
    """PostgreSQL keeps these as text and JSON, which know no U+0000."""
    if any("\x00" in text for text in texts):
        raise InvalidArgument(f"{field}: must not contain U+0000")
