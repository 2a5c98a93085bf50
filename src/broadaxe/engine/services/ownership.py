"""Owns the scheduling: takes the lease, rebuilds memory from rows, and begins anew when the lease is lost."""

import asyncio
import logging
from asyncio import Event
from datetime import UTC, datetime, timedelta
from typing import Protocol

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.task import TaskFacts, TaskState, WorkerLost
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.event_tracing import EventTraces
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.restore import Loaded, RunRestore
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.services.liveness import Liveness
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import Lease, StoredTask
from broadaxe.telemetry import names as T

_LOG = logging.getLogger(__name__)
_WORKERS_SINCE = timedelta(minutes=10)
_PAUSE = (0.2, 5.0)
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Owner(Protocol):
    """What the engine does when ownership changes."""

    def gained(self) -> None:
        """Memory is whole."""

    def dropped(self) -> None:
        """Stop acting: memory goes."""


class Ownership:
    """The service that keeps the lease."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        catalog: Catalog,
        lifecycle: Lifecycle,
        liveness: Liveness,
        traces: RunTraces,
        event_traces: EventTraces,
        background: Background,
        owner: Owner,
        restore: RunRestore,
    ) -> None:
        self._restore = restore
        self._ledger = context.ledger
        self._clock = context.clock
        self._ids = context.ids
        self._tracer = context.tracer
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._catalog = catalog
        self._lifecycle = lifecycle
        self._liveness = liveness
        self._traces = traces
        self._event_traces = event_traces
        self._background = background
        self._owner = owner
        self._lost = Event()
        self._task: asyncio.Task[None] | None = None
        self._told_again: datetime | None = None
        """When all that the process before this one may have kept was told again."""
        self.lease: Lease | None = None
        context.ledger.on_fenced(self.lost)

    def start(self) -> None:
        """Begin to try for the lease."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ownership")

    async def stop(self) -> None:
        """Give the lease back, with what is known of our spans."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self.lease is not None:
            self.lease = None
            try:
                await self._ledger.release_lease(self.confirmed_until())
            except BroadaxeError as error:
                _LOG.warning("the lease could not be given back: %s", error.message)

    def alive(self) -> bool:
        """Whether the service still tries; it ends only by a fault of its own, or when it is stopped."""
        return self._task is None or not self._task.done()

    def healthy(self) -> bool:
        """Whether this process owns the scheduling now."""
        return self._gate.open

    def confirmed_until(self) -> datetime | None:
        """Whatever ended before this moment has left as spans; None while that is not known.

        An end has its time from when it was judged, and its span from when it was committed. Telling a little
        too much again does no harm, the ids are the same.
        """
        left = self._options.confirmed_until()
        if left is None or self._told_again is None or left < self._told_again:
            return None
        return self._lifecycle.writes.judged_before(left)

    def lost(self) -> None:
        """The ledger says that another process owns the lease."""
        if self._gate.open:
            _LOG.warning("the lease is lost: another process schedules now")
            self._gate.set_closed()
            self._owner.dropped()
        self._lost.set()

    async def _run(self) -> None:
        pause = _PAUSE[0]
        while True:
            try:
                began = self._clock.now_ns()
                self._lost.clear()
                self._told_again = None
                self.lease = await self._ledger.acquire_lease(self._options.engine_id)
                await self._rebuild(self.lease, began)
                pause = _PAUSE[0]
                await self._lost.wait()
            except BroadaxeError as error:
                _LOG.warning("taking over: %s", error.message)
                self._owner.dropped()
                await asyncio.sleep(self._ids.uniform(pause / 2, pause))
                pause = min(_PAUSE[1], pause * 2)
            self.lease = None

    async def _rebuild(self, lease: Lease, began_ns: int) -> None:
        # The clock of silence starts anew, so every worker has its 30 s from here.
        now = self._clock.monotonic()
        self._catalog.forget_names()
        for row in await self._ledger.load_workers(self._clock.now() - _WORKERS_SINCE):
            self._memory.add_worker(Worker(row, now))
        # Before the tasks: those of a paused workflow do not enter their queues.
        self._memory.pauses.load(await self._ledger.schedules.load_pauses())
        found, runs = await self._read()
        homeless = self._adopt(found)
        if self._lost.is_set():
            # Opened now, the gate would let calls act on memory that nobody keeps true.
            raise Unavailable("the lease was lost during the take-over")
        self._tell(lease, began_ns, len(found))
        self._gate.set_open(self._clock.monotonic())
        for worker in self._memory.workers.values():
            self._liveness.watch(worker)
        for live in homeless:
            self._lifecycle.writes.submit(live, WorkerLost(live.status.attempt, "Its worker is not known"))
        for one in runs:
            self._restore.resume(one)
        self._owner.gained()
        first = lease.previous_engine is None and lease.spans_confirmed_until is None
        if first or not self._tracer.enabled:
            self._told_again = self._clock.now()
        else:
            self._background.spawn(self._tell_again(lease), "telling spans again")

    async def _read(self) -> tuple[list[LiveTask], list[Loaded]]:
        """Every task and every run that is not over."""
        found: list[LiveTask] = []
        runs: list[Loaded] = []
        async for whole_page in self._ledger.load_live_runs():
            for whole in whole_page:
                loaded = await self._restore.load(whole)
                if loaded is not None:
                    self._restore.enter(loaded)
                    runs.append(loaded)
                    found += loaded.lives
        async for page in self._ledger.load_live_tasks():
            for stored in page:
                if stored.facts.run_id == stored.facts.id:
                    live = await self._live(stored)
                    if live is not None:
                        found.append(live)
        return found, runs

    def _adopt(self, found: list[LiveTask]) -> list[LiveTask]:
        """Put tasks where their states say; those whose worker is not known."""
        homeless: list[LiveTask] = []
        # A step is as old as its decision, not as its id, which has the time of its run.
        found.sort(key=lambda live: (live.facts.created_at, live.id))
        for live in found:
            live.order = self._memory.next_order()
            self._lifecycle.adopt(live)
            status = live.status
            if status.state is TaskState.ASSIGNED and status.worker_id not in self._memory.workers:
                homeless.append(live)
        return homeless

    async def _live(self, stored: StoredTask) -> LiveTask | None:
        plan = await self._plan(stored.facts)
        if plan is None:
            _LOG.error("task %s: its version %s is not stored", stored.facts.id, stored.facts.version_id)
            return None
        facts = stored.facts
        live = LiveTask(
            facts, stored.status, plan, need_of(plan, facts), self._memory.next_order(), facts.input
        )
        live.drop_input(self._options.kept_input)
        return live

    async def _plan(self, facts: TaskFacts) -> StepPlan | None:
        return await self._catalog.step(facts.tenant_id, facts.version_id, facts.step_id)

    def _tell(self, lease: Lease, began_ns: int, tasks: int) -> None:
        self._tracer.emit(
            T.SPAN_RECOVER,
            self._tracer.new_root(),
            began_ns,
            self._clock.now_ns(),
            attrs=(
                (T.ATTR_EPOCH, lease.epoch),
                (T.ATTR_PARTITION, lease.partition),
                (T.ATTR_RECOVERED_TASKS, tasks),
                (T.ATTR_RECOVERED_WORKERS, len(self._memory.workers)),
            ),
        )

    async def _tell_again(self, lease: Lease) -> None:
        """Spans of what ended shortly before the process before this one did: it may not have sent them."""
        # Without a mark no process lived for long enough to set one: all there is may be missing.
        since = lease.spans_confirmed_until or _BEGINNING
        async for events in self._ledger.events.load_events_since(since):
            for event in events:
                self._event_traces.told_again(event)
        async for attempts in self._ledger.load_attempts_since(since):
            for ended in attempts:
                plan = await self._plan(ended.facts)
                if plan is not None:
                    self._traces.told_again(ended, plan)
        await self._tell_ends_again(since)
        self._told_again = self._clock.now()

    async def _tell_ends_again(self, since: datetime) -> None:
        """Tasks, and runs of several, that ended since then."""
        async for page in self._ledger.load_finished_since(since):
            for stored in page:
                plan = await self._plan(stored.facts)
                if plan is None:
                    continue
                if stored.status.assigned_at is None and stored.facts.run_id != stored.facts.id:
                    self._traces.step_decided(stored.facts, plan, stored.status, "")
                else:
                    self._traces.finished(stored.facts, plan, stored.status, replayed=True)
        async for ended_runs in self._ledger.load_ended_runs_since(since):
            for ended_run in ended_runs:
                version = ended_run.facts.version_id
                plan = await self._catalog.version(ended_run.facts.tenant_id, version)
                if plan is not None and ended_run.end is not None:
                    definition = plan.version.definition
                    self._traces.run_finished(ended_run.facts, definition, ended_run.end, replayed=True)
