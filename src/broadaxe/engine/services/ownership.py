"""Owns partitions: takes leases, rebuilds memory from rows, hands over what is another engine's share."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.fleet import Fleet, hand_over
from broadaxe.domain.ids import EngineId
from broadaxe.domain.task import TaskFacts, TaskState, WorkerLost
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.elsewhere.hosts import Hosts
from broadaxe.engine.event_tracing import EventTraces
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.parents import EndedStep, parents_in_rows
from broadaxe.engine.runs.restore import Loaded, RunRestore
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.services.liveness import Liveness
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import EndedAttempt, Lease, StoredTask
from broadaxe.telemetry import names as T

_LOG = logging.getLogger(__name__)
_WORKERS_SINCE = timedelta(minutes=10)
_PAUSE = (0.2, 5.0)
_HAND_OVER = 2.0
"""Seconds that work in flight may take before a partition is handed over without it."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Owner(Protocol):
    """What the engine does when ownership changes."""

    def gained(self, partition: int) -> None:
        """Memory of the partition is whole."""

    def dropped(self, partition: int) -> None:
        """Stop acting for the partition: its memory goes."""

    def settled(self) -> Awaitable[None]:
        """Wait for what is in flight; bounded by who asks."""


class Ownership:
    """The service that keeps the leases: it takes what is free, and hands over what is another's share."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        catalog: Catalog,
        lifecycle: Lifecycle,
        liveness: Liveness,
        hosts: Hosts,
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
        self._hosts = hosts
        self._traces = traces
        self._event_traces = event_traces
        self._background = background
        self._owner = owner
        self._taking: int | None = None
        self._taking_lost = False
        self._giving: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._telling = 0
        self._told_again: datetime | None = None
        """When all that the processes before this one may have kept was told again."""
        self.leases: dict[int, Lease] = {}
        context.ledger.on_fenced(self.lost)
        context.ledger.on_fleet(self._seen)

    def start(self) -> None:
        """Join the other engines, and begin to try for leases."""
        self._ledger.join(self._options.engine_id, schedules=self._options.schedules)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ownership")

    async def stop(self) -> None:
        """Give the leases back, with what is known of our spans."""
        for task in (self._task, self._giving):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        self._task = None
        leases, self.leases = self.leases, {}
        try:
            for partition in leases:
                await self._ledger.release_lease(self.confirmed_until(), partition)
            await self._ledger.leave()
        except BroadaxeError as error:
            _LOG.warning("the leases could not be given back: %s", error.message)

    def alive(self) -> bool:
        """Whether the service still tries; it ends only by a fault of its own, or when it is stopped."""
        return self._task is None or not self._task.done()

    def healthy(self) -> bool:
        """Whether this process owns something, or need not."""
        return self._gate.open

    def confirmed_until(self) -> datetime | None:
        """Whatever ended before this moment has left as spans; None while that is not known.

        An end has its time from when it was judged, and its span from when it was committed. Telling a little
        too much again does no harm, the ids are the same.
        """
        left = self._options.confirmed_until()
        if left is None or self._telling or self._told_again is None or left < self._told_again:
            return None
        return self._lifecycle.writes.judged_before(left)

    def lost(self, partition: int) -> None:
        """The ledger says that another process owns the partition."""
        self.leases.pop(partition, None)
        if self._taking == partition:
            self._taking_lost = True
        if self._gate.drop(partition):
            _LOG.warning("the lease of partition %d is lost: another process schedules now", partition)
            self._owner.dropped(partition)

    async def _run(self) -> None:
        await self._ledger.joined()
        if not self._options.schedules:
            self._told_again = self._clock.now()
            self._gate.set_open()
            await asyncio.Event().wait()
        pause = _PAUSE[0]
        while True:
            lease: Lease | None = None
            try:
                lease = await self._ledger.acquire_lease(self._options.engine_id)
                await self._take(lease)
                pause = _PAUSE[0]
            except BroadaxeError as error:
                _LOG.warning("taking over: %s", error.message)
                if lease is not None:
                    self._owner.dropped(lease.partition)
                    await self._ledger.release_lease(None, lease.partition)
                await asyncio.sleep(self._ids.uniform(pause / 2, pause))
                pause = min(_PAUSE[1], pause * 2)
            finally:
                self._taking = None

    def _seen(self, fleet: Fleet) -> None:
        """A sweep told who is there: give away what is another's share."""
        if not self._gate.open and self._task is not None:
            # What was free is taken over first: calls are then served on memory.
            others = {lease.partition for lease in fleet.leases if lease.engine_id != self._options.engine_id}
            known = self._gate.owned.keys() | (others - self._ledger.held)
            if self._ledger.tried and len(known) >= self._ledger.partition_count:
                self._gate.set_open()
        if self._gate.draining or (self._giving is not None and not self._giving.done()):
            return
        given = hand_over(fleet, self._options.engine_id, self._gate.owned)
        if given is not None and self._gate.open:
            self._giving = asyncio.get_running_loop().create_task(self._give(*given), name="hand-over")

    async def _give(self, partition: int, heir: EngineId) -> None:
        """Decide nothing new for the partition, finish what is in flight, forget it, let go."""
        self._gate.leave(partition)
        try:
            async with asyncio.timeout(_HAND_OVER):
                await self._owner.settled()
        except TimeoutError:
            _LOG.info("partition %d is handed over with work in flight", partition)
        if not self._gate.drop(partition):
            return
        self.leases.pop(partition, None)
        self._owner.dropped(partition)
        await self._ledger.release_lease(self.confirmed_until(), partition, heir)
        _LOG.info("partition %d is handed over to engine %s", partition, heir)

    async def _take(self, lease: Lease) -> None:
        began = self._clock.now_ns()
        partition = self._taking = lease.partition
        self._taking_lost = False
        # The clock of silence starts anew, so every worker has its 30 s from here.
        now = self._clock.monotonic()
        self._catalog.forget_names()
        workers = await self._ledger.load_workers(self._clock.now() - _WORKERS_SINCE, partition)
        for row in workers:
            worker = Worker(row, now)
            self._memory.add_worker(worker)
            self._hosts.restore(worker)
        # Before the tasks: those of a paused workflow do not enter their queues.
        self._memory.pauses.load(await self._ledger.schedules.load_pauses())
        found, runs = await self._read(partition)
        homeless = self._adopt(found)
        if self._taking_lost:
            # Taken now, calls would act on memory that nobody keeps true.
            raise Unavailable("the lease was lost during the take-over")
        self._tell(lease, began, len(found), len(workers))
        self.leases[partition] = lease
        self._gate.take(partition, self._clock.monotonic())
        for worker in self._memory.workers.values():
            self._liveness.watch(worker)
        for live in homeless:
            self._lifecycle.writes.submit(live, WorkerLost(live.status.attempt, "Its worker is not known"))
        for one in runs:
            self._restore.resume(one)
        self._owner.gained(partition)
        if len(self._gate.owned) >= self._ledger.partition_count:
            self._gate.set_open()
        first = lease.previous_engine is None and lease.spans_confirmed_until is None
        if first or not self._tracer.enabled:
            self._told_again = self._clock.now()
        else:
            # Without a mark no process lived for long enough to set one: all there is may be missing.
            since = lease.spans_confirmed_until or _BEGINNING
            self.tell_again(partition, since)

    async def _read(self, partition: int) -> tuple[list[LiveTask], list[Loaded]]:
        """Every task and every run that is not over."""
        found: list[LiveTask] = []
        runs: list[Loaded] = []
        async for whole_page in self._ledger.load_live_runs():
            for whole in whole_page:
                if self._gate.partition(whole.run.facts.tenant_id) != partition:
                    continue
                loaded = await self._restore.load(whole)
                if loaded is not None:
                    self._restore.enter(loaded)
                    runs.append(loaded)
                    found += loaded.lives
        async for page in self._ledger.load_live_tasks(partition):
            for stored in page:
                if stored.facts.run_id == stored.facts.id:
                    live = await self.live(stored)
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

    async def live(self, stored: StoredTask) -> LiveTask | None:
        """A task as memory has it; None for one whose version is not stored."""
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

    def _tell(self, lease: Lease, began_ns: int, tasks: int, workers: int) -> None:
        self._tracer.emit(
            T.SPAN_RECOVER,
            self._tracer.new_root(),
            began_ns,
            self._clock.now_ns(),
            attrs=(
                (T.ATTR_EPOCH, lease.epoch),
                (T.ATTR_PARTITION, lease.partition),
                (T.ATTR_RECOVERED_TASKS, tasks),
                (T.ATTR_RECOVERED_WORKERS, workers),
            ),
        )

    def tell_again(self, partition: int | None, since: datetime) -> None:
        """Tell again what ended since a moment: a process that is gone may not have sent its spans."""
        self._telling += 1
        self._background.spawn(self._tell_again(partition, since), "telling spans again")

    async def _tell_again(self, partition: int | None, since: datetime) -> None:
        try:
            async for events in self._ledger.events.load_events_since(since):
                for event in events:
                    if partition is None or self._gate.partition(event.tenant_id) == partition:
                        self._event_traces.told_again(event)
            async for attempts in self._ledger.load_attempts_since(since, partition):
                await self._tell_attempts_again(attempts)
            await self._tell_ends_again(partition, since)
            self._told_again = self._clock.now()
        finally:
            self._telling -= 1

    async def _tell_attempts_again(self, attempts: Sequence[EndedAttempt]) -> None:
        """Attempts that ended while their tasks went on."""
        known: list[tuple[EndedAttempt, EndedStep]] = []
        for ended in attempts:
            plan = await self._plan(ended.facts)
            if plan is not None:
                known.append((ended, EndedStep(ended.facts, plan, ended.record.queued_at)))
        parents = await parents_in_rows(self._ledger, [step for _, step in known])
        for (ended, step), before in zip(known, parents, strict=True):
            self._traces.told_again(ended, step.plan, before)

    async def _tell_ends_again(self, partition: int | None, since: datetime) -> None:
        """Tasks, and runs of several, that ended since then."""
        async for page in self._ledger.load_finished_since(since, partition):
            known: list[tuple[StoredTask, EndedStep]] = []
            for stored in page:
                plan = await self._plan(stored.facts)
                if plan is None:
                    continue
                if stored.status.assigned_at is None and stored.facts.run_id != stored.facts.id:
                    self._traces.step_decided(stored.facts, plan, stored.status, "")
                else:
                    known.append((stored, EndedStep(stored.facts, plan)))
            parents = await parents_in_rows(self._ledger, [step for _, step in known])
            for (stored, step), before in zip(known, parents, strict=True):
                self._traces.finished(stored.facts, step.plan, stored.status, replayed=True, parents=before)
        async for ended_runs in self._ledger.load_ended_runs_since(since):
            for ended in ended_runs:
                tenant_id = ended.facts.tenant_id
                if partition is not None and self._gate.partition(tenant_id) != partition:
                    continue
                plan = await self._catalog.version(tenant_id, ended.facts.version_id)
                if plan is not None and ended.end is not None:
                    self._traces.run_finished(ended.facts, plan.version.definition, ended.end, replayed=True)
