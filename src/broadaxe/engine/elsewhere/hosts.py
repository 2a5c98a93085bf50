"""Workers of tenants that are scheduled here while their streams are at other engines."""

from collections.abc import Iterable
from uuid import UUID

from broadaxe.clock import Clock
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.desk import WorkerDesk
from broadaxe.engine.elsewhere.bodies import SessionAt
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.elsewhere.remote import RemoteSession
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.workers import Worker


class Hosts:
    """Keeps their sessions in memory as what the other engines say of them."""

    def __init__(
        self,
        context: EngineContext,
        memory: Memory,
        scheduler: Scheduler,
        desk: WorkerDesk,
        outgoing: Outgoing,
    ) -> None:
        self._clock: Clock = context.clock
        self._me = context.options.engine_id
        self._fresh = context.options.fresh
        self._memory = memory
        self._scheduler = scheduler
        self._desk = desk
        self._outgoing = outgoing
        self._unsure: dict[UUID, SessionAt] = {}
        """Sessions that rows tell of, until a sweep says which engines live."""

    def restore(self, worker: Worker) -> None:
        """The tenant was taken over: the worker listens where its row says, if the next sweep finds that
        engine alive. It may be the one that died."""
        row = worker.row
        if row.engine_id is not None and row.engine_id != self._me and row.listening_since is not None:
            self._unsure[row.id] = SessionAt(row.id, row.engine_id, row.listening_since)

    async def opened(self, tenant_id: TenantId, where: SessionAt) -> None:
        """A worker listens at another engine."""
        if where.engine_id == self._me:
            return
        self._open(await self._desk.find(tenant_id, where.worker_id), where)

    def closed(self, tenant_id: TenantId, where: SessionAt) -> None:
        """It does not any more."""
        worker = self._memory.worker(tenant_id, where.worker_id)
        if worker is None:
            return
        for session in [one for one in worker.sessions if _same(one, where)]:
            self._lose(worker, session)

    def silent(self, tenant_id: TenantId, ids: Iterable[UUID], silent: bool) -> None:
        """The engine of its session heard nothing of a worker for a while, or hears of it again."""
        for worker_id in ids:
            worker = self._memory.worker(tenant_id, worker_id)
            if worker is not None:
                worker.silent = silent
                if silent:
                    # It was last heard of that long ago: from there its death is counted.
                    worker.beat = None
                    worker.seen = self._clock.monotonic() - self._fresh
                else:
                    worker.beat = worker.seen = self._clock.monotonic()
                    self._scheduler.wake_worker(worker)

    def seen(self, fleet: Fleet) -> None:
        """A sweep: engines that live vouch for their workers, those of dead engines are let go of."""
        now = self._clock.monotonic()
        unsure, self._unsure = self._unsure, {}
        for where in unsure.values():
            found = self._memory.workers.get(where.worker_id)
            if found is not None and fleet.alive(EngineId(where.engine_id)):
                self._open(found, where)
        for worker in list(self._memory.workers.values()):
            for session in list(worker.sessions):
                if not isinstance(session, RemoteSession):
                    continue
                if not fleet.alive(session.engine_id):
                    self._lose(worker, session)
                elif not worker.silent:
                    worker.beat = worker.seen = now

    def engine_of(self, worker: Worker) -> EngineId | None:
        """The other engine that has its newest session."""
        newest = worker.sessions[-1] if worker.sessions else None
        return newest.engine_id if isinstance(newest, RemoteSession) else None

    def _open(self, worker: Worker, where: SessionAt) -> None:
        if not any(_same(session, where) for session in worker.sessions):
            session = self._add(worker, where)
            worker.silent = False
            self._desk.welcome(worker, session)

    def _add(self, worker: Worker, where: SessionAt) -> RemoteSession:
        session = RemoteSession(
            worker.row.tenant_id,
            worker.id,
            EngineId(where.engine_id),
            where.opened_at,
            self._outgoing.post,
        )
        worker.sessions.append(session)
        worker.sessions.sort(key=lambda one: one.opened_at)
        worker.had_session = True
        worker.beat = worker.seen = self._clock.monotonic()
        return session

    def _lose(self, worker: Worker, session: "object") -> None:
        for one in [one for one in worker.sessions if one is session]:
            one.open = False
            worker.sessions.remove(one)
        if worker.sessions:
            self._desk.doubt(worker)


def _same(session: object, where: SessionAt) -> bool:
    return (
        isinstance(session, RemoteSession)
        and session.engine_id == where.engine_id
        and session.opened_at == where.opened_at
    )
