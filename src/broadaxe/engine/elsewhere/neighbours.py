"""What is done when other engines come, go and change what they own; and everything for tenants of theirs."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.desk import WorkerDesk
from broadaxe.engine.dispatch.results import RunResults
from broadaxe.engine.dispatch.run_events import RunEvents
from broadaxe.engine.dispatch.sessions import Session
from broadaxe.engine.elsewhere.depths import Depths
from broadaxe.engine.elsewhere.guests import Guests
from broadaxe.engine.elsewhere.hosts import Hosts
from broadaxe.engine.elsewhere.interest import Interest
from broadaxe.engine.elsewhere.operations import OperationsElsewhere
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.elsewhere.reports import ReportsElsewhere
from broadaxe.engine.elsewhere.rows import RowsElsewhere
from broadaxe.engine.elsewhere.watching import WatchingElsewhere
from broadaxe.engine.gate import Gate
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.operations import Operations
from broadaxe.engine.ingest.reports import Reports
from broadaxe.engine.runs.restore import RunRestore
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.services.ownership import Ownership
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import Message, MessageKind, StoredTask

_LOG = logging.getLogger(__name__)
_BURIED_AFTER = timedelta(seconds=15)
"""Silence after which an engine's last spans are told again, and then its row and its messages go."""
_BURIED_UNTOLD_AFTER = timedelta(minutes=5)
"""A collector that is away is not waited for any longer."""


class Neighbours:
    """The parts for tenants that other engines schedule, and what follows from a sweep's view of them."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        held: HeldCalls,
        timers: Timers,
        memory: Memory,
        catalog: Catalog,
        traces: RunTraces,
        tally: Tally,
        outgoing: Outgoing,
        background: Background,
    ) -> None:
        self._context = context
        self._ledger = context.ledger
        self._clock = context.clock
        self._gate = gate
        self._held = held
        self._memory = memory
        self._tally = tally
        self._outgoing = outgoing
        self._background = background
        self._reads = RowReads(context, background)
        self.rows = RowsElsewhere(context, catalog, traces, tally)
        self.guests = Guests(
            context, gate, held, timers, catalog, self.rows, traces, tally, outgoing, background
        )
        self.depths = Depths(context, outgoing)
        self.interest = Interest(context, gate, memory, outgoing)
        self._leases: tuple[tuple[int, EngineId, int], ...] = ()
        self._seen_at: float | None = None
        self._burying: asyncio.Task[None] | None = None
        self._told: set[EngineId] = set()
        """Engines that are gone and whose last spans are being told again."""

    def build(
        self,
        results: RunResults,
        events: RunEvents,
        lifecycle: Lifecycle,
        scheduler: Scheduler,
        desk: WorkerDesk,
        reports: Reports,
        operations: Operations,
        runs: RunRestore,
    ) -> None:
        """Connect what the engine is made of."""
        context = self._context
        self._results = results
        self._events = events
        self._lifecycle = lifecycle
        self._runs = runs
        self._scheduler = scheduler
        scheduler.on_grown, scheduler.on_shrunk = self.depths.grown, self.depths.shrunk
        self._desk = desk
        self.watching = WatchingElsewhere(context, self._gate, events, self._reads, self._outgoing)
        self.hosts = Hosts(context, self._memory, scheduler, desk, self._outgoing)
        self.reports = ReportsElsewhere(
            context, self._held, self._reads, self.rows, self._tally, reports.translate
        )
        self.operations = OperationsElsewhere(context, self._gate, self.rows, operations)
        reports.use(self.reports)
        results.want = self.interest.want
        results.owns = self._gate.owns
        self.interest.use(results)
        self.rows.on_ended = self._ended_here

    def use(self, ownership: Ownership) -> None:
        """Listen to sweeps; leases are this service's."""
        self._ownership = ownership
        self._ledger.on_fleet(self._seen)

    # -- rows that other engines wrote --------------------------------------------------------------------

    async def rows_changed(self, tenant_id: TenantId, ids: list[UUID]) -> None:
        """Follow rows that another engine created or changed. The one entry for that."""
        unknown: list[UUID] = []
        for task_id in ids:
            live = self._memory.task(tenant_id, task_id)
            if live is None:
                unknown.append(task_id)
            else:
                self._lifecycle.writes.reread(live)
        if unknown:
            rows = await self._ledger.get_tasks(tenant_id, unknown)
            # Of several tasks: the run decides what its rows mean.
            runs = dict.fromkeys(row.facts.run_id for row in rows if row.facts.run_id != row.facts.id)
            found = {row.facts.id for row in rows}
            for run_id in (*runs, *(one for one in unknown if one not in found and one not in runs)):
                await self._runs.arrived(tenant_id, run_id)
            rows = [row for row in rows if row.facts.run_id == row.facts.id]
            # Ids are made in the order of the triggers.
            for stored in sorted(rows, key=lambda row: row.facts.id):
                await self._arrived(stored)

    async def _arrived(self, stored: StoredTask) -> None:
        live = await self._ownership.live(stored)
        facts = stored.facts
        if live is None or self._memory.task(facts.tenant_id, facts.id) is not None:
            return
        if not self._gate.owns(facts.tenant_id):
            return
        if stored.status.state.final:
            self._lifecycle.passed_by(live)
        else:
            self._lifecycle.arrived(live)

    def _ended_here(self, tenant_id: TenantId, runs: Sequence[UUID]) -> None:
        """Tasks became final by what was written here: subscribers here need not wait for the owner."""
        self._results.ask_for(tenant_id, runs)

    # -- leases come and go -------------------------------------------------------------------------------

    def gained(self, partition: int) -> None:
        """The partition is owned here: workers that listen here were guests until now."""
        for guest in self.guests.leave(partition):
            worker = self._memory.workers.get(guest.id)
            if worker is None:
                worker = Worker(guest.row, self._clock.monotonic())
                self._memory.add_worker(worker)
            for session in guest.sessions:
                if session not in worker.sessions:
                    worker.sessions.append(session)
                if isinstance(session, Session):
                    session.owner = self._desk
            worker.had_session = True
            worker.beat, worker.seen, worker.beat_at = guest.beat, guest.seen, guest.beat_at
            worker.silent = False
        for worker in list(self._memory.workers.values()):
            if self._gate.partition(worker.row.tenant_id) == partition:
                for live in worker.tasks.values():
                    self._mark_sent(live)
                if worker.sessions:
                    self._desk.settle_in(worker)
        for queue in list(self._memory.queues.values()):
            self._scheduler.wake(queue)
        self._results.recheck()

    def dropped(self, workers: Sequence[Worker]) -> None:
        """Their tenants' lease is gone: their streams here stay open."""
        for worker in workers:
            self.guests.take_in(worker)

    def _mark_sent(self, live: LiveTask) -> None:
        if live.status.started_at is None and self.guests.sent(live.id, live.status.attempt):
            self._lifecycle.was_sent(live)

    def _seen(self, fleet: Fleet) -> None:
        now = self._clock.monotonic()
        if self._seen_at is not None and now - self._seen_at > self._context.options.engine_dead_after:
            # The others may have taken this engine for dead.
            self.guests.announce_all()
        self._seen_at = now
        self.hosts.seen(fleet)
        self.interest.seen(fleet)
        self.watching.seen(fleet)
        leases = tuple((one.partition, one.engine_id, one.epoch) for one in fleet.leases)
        if leases != self._leases:
            self._leases = leases
            self._results.recheck()
            self.watching.moved()
            self.depths.moved()
        if self._ledger.silent and (self._burying is None or self._burying.done()):
            self._burying = asyncio.get_running_loop().create_task(self._bury(), name="burying engines")

    async def _bury(self) -> None:
        """Take engines away that are gone, once what they had not told has been told again and has left.

        Until then their rows stay: whoever tells may die over it, and then another one tells.
        """
        self._told.intersection_update(self._ledger.silent)
        alive = [member.id for member in self._ledger.fleet.members if member.fresh]
        if alive and min(alive) != self._context.options.engine_id:
            return
        try:
            for engine_id in self._ledger.silent:
                if engine_id not in self._told:
                    since = await self._ledger.untold_since(engine_id, _BURIED_AFTER)
                    if since is not None:
                        self._told.add(engine_id)
                        self._ownership.tell_again(None, since)
                    continue
                left = self._ownership.confirmed_until() is not None
                if await self._ledger.bury(engine_id, _BURIED_AFTER if left else _BURIED_UNTOLD_AFTER):
                    _LOG.info("engine %s is gone", engine_id)
        except BroadaxeError as error:
            _LOG.warning("a dead engine could not be taken away: %s", error.message)

    # -- calls --------------------------------------------------------------------------------------------

    async def registered(self, tenant_id: TenantId, name: str) -> None:
        """A workflow was registered here: the other engines forget what they know of it."""
        if len(self._ledger.fleet.members) > 1:
            body = msgspec.json.encode({"workflow": name})
            await self._ledger.post([Message(tenant_id, MessageKind.WORKFLOW_CHANGED, body)])

    def pass_beat_on(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """A heartbeat reached the owner: the engine of the stream counts silence, so it is told."""
        worker = self._memory.worker(tenant_id, worker_id)
        at = self.hosts.engine_of(worker) if worker is not None else None
        if at is not None:
            self.guests.pass_on_beat(tenant_id, at, worker_id)
