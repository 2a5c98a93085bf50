"""The engine: builds its parts and passes calls on to them. Implements `engine.api.Engine`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from broadaxe.clock import Clock, Ids
from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.task import TaskFilter
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import LabelValue, WorkflowDefinition, WorkflowVersion
from broadaxe.engine.api import (
    NewUserEvent,
    NewWorker,
    Origin,
    Refusal,
    RunDetails,
    RunEvent,
    Trigger,
    WorkerEvent,
)
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext, EngineOptions, Meter
from broadaxe.engine.dispatch.desk import WorkerDesk
from broadaxe.engine.dispatch.dispatcher import Dispatcher
from broadaxe.engine.dispatch.results import RunResults, Subscription
from broadaxe.engine.dispatch.run_events import RunEvents
from broadaxe.engine.dispatch.sessions import Session
from broadaxe.engine.elsewhere.events import DeliveredElsewhere
from broadaxe.engine.elsewhere.inbox import Inbox
from broadaxe.engine.elsewhere.neighbours import Neighbours
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.event_tracing import EventTraces
from broadaxe.engine.filters import Filters, post_filters_changed
from broadaxe.engine.gate import Gate
from broadaxe.engine.gauges import Gauges
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.events import EventListener, Events
from broadaxe.engine.ingest.keys import Keys
from broadaxe.engine.ingest.operations import Operations
from broadaxe.engine.ingest.registration import Registration
from broadaxe.engine.ingest.reports import Reports
from broadaxe.engine.ingest.subscriptions import Subscriptions
from broadaxe.engine.ingest.trigger import Triggers
from broadaxe.engine.runs.book import RunBook
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.control import RunControl
from broadaxe.engine.runs.restore import RunRestore
from broadaxe.engine.runs.steps import StepLife
from broadaxe.engine.runs.waits import WaitBook
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.pausing import Pausing
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.schedules.changes import ScheduleChanges, read_change
from broadaxe.engine.schedules.firing import Firing
from broadaxe.engine.schedules.requests import ScheduleRequests, asked_in
from broadaxe.engine.schedules.service import Schedules
from broadaxe.engine.services.heartbeats import Heartbeats
from broadaxe.engine.services.liveness import Liveness
from broadaxe.engine.services.maintenance import Chore, Maintenance
from broadaxe.engine.services.ownership import Ownership
from broadaxe.engine.services.sweep import Sweep
from broadaxe.engine.services.timers_service import TimersService
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.expr.compiled import Cel
from broadaxe.expr.evaluator import Evaluator
from broadaxe.store.ledger import Ledger
from broadaxe.telemetry.logs import RateLimited
from broadaxe.telemetry.tracer import Tracer

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_LEAST_WAIT = 0.5
"""Seconds that a step of a stop has even when the ones before it took all the time."""


class EngineCore:
    """One engine process. `start`, then serve; `drain`, stop the surfaces, `stop`."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        ids: Ids,
        tracer: Tracer,
        meter: Meter,
        options: EngineOptions,
        chores: tuple[Chore, ...] = (),
        readings: tuple[Chore, ...] = (),
        listeners: tuple[EventListener, ...] = (),
    ) -> None:
        """`chores` are done every hour or so, `readings` every minute, both by the owner alone."""
        context = EngineContext(ledger, clock, ids, tracer, meter, options)
        self._clock = clock
        self._ledger = ledger
        self._drain_wait = options.drain_wait
        self._stop_by: float | None = None
        self.timers = Timers(clock)
        self.memory = Memory()
        self._gate = Gate(self.timers, options.hold, lambda: ledger.partition_count)
        self._held = HeldCalls(context, self.timers)
        self._background = Background()
        self._tally = Tally(meter)
        self._traces = RunTraces(context)
        self._catalog = Catalog(context)
        self.evaluator = Evaluator(Cel(options.expressions))
        self._scheduler = Scheduler(context, self.memory, self._tally)
        self._scheduler.decides = self._gate.owns
        self._outgoing = Outgoing(context, self._background)
        self._neighbours = Neighbours(
            context,
            self._gate,
            self._held,
            self.timers,
            self.memory,
            self._catalog,
            self._traces,
            self._tally,
            self._outgoing,
            self._background,
        )
        self._dispatcher = Dispatcher(
            context, self.memory, self._scheduler, self._traces, self._tally, self._background
        )
        self._results = RunResults(
            context, self.memory, self.timers, self._catalog, self._traces, self._background
        )
        self._events = RunEvents(context, self._gate, self.memory, self.timers)
        self._lifecycle = Lifecycle(
            context,
            self._gate,
            self.memory,
            self.timers,
            self._scheduler,
            self._dispatcher,
            self._traces,
            self._tally,
            self._background,
            (self._results, self._events, self._neighbours.interest),
        )
        self._conditions = Conditions(self.evaluator)
        self.waits = WaitBook(clock, self.timers, self._conditions)
        writes = self._lifecycle.writes
        steps = StepLife(
            clock,
            self.memory,
            self._lifecycle,
            self._traces,
            self._tally,
            (self._results, self._events, self._neighbours.interest),
        )
        self._book = RunBook(
            context,
            self._gate,
            self.memory,
            self.timers,
            self._scheduler,
            self.waits,
            steps,
            writes.ride,
        )
        self._lifecycle.use(self._book)
        self._restore = RunRestore(
            context,
            self._gate,
            self.memory,
            self.timers,
            self._catalog,
            self._conditions,
            self._book,
            self.waits,
            self._lifecycle,
            self._background,
            steps,
        )
        runs = RunControl(
            context,
            self._gate,
            self.memory,
            self._catalog,
            self._lifecycle,
            self._book,
            self._restore,
            steps,
        )
        self._liveness = Liveness(context, self._gate, self.memory, self.timers, writes)
        self._desk = WorkerDesk(
            context,
            self._gate,
            self._held,
            self.memory,
            self._scheduler,
            self._dispatcher,
            self._liveness,
            self._background,
        )
        self._subscriptions = Subscriptions(context)
        self._catalog.on_forget.append(self._subscriptions.forget)
        self.filters = Filters(
            ledger.events, self.evaluator.cel, options.filter_limits, self._filters_changed
        )
        keys = Keys(context, self.evaluator)
        parts = (
            context,
            self._gate,
            self.memory,
            self._catalog,
            self._scheduler,
            self._lifecycle,
            self._traces,
            self._tally,
            keys,
            self._book,
            self._conditions,
        )
        self._reports = Reports(
            context, self._gate, self._held, self.memory, writes, self._tally, self._conditions
        )
        self._triggers = Triggers(*parts)
        self._triggers_elsewhere = Triggers(*parts, elsewhere=self._neighbours.depths)
        event_traces = EventTraces(context)
        complaint = RateLimited(_LOG, clock)
        events = (context, self._gate, self._catalog, self._subscriptions, self.evaluator, keys, complaint)
        listeners = (self.waits, *listeners)
        self._user_events = Events(*events, self._triggers, event_traces, self._tally, listeners)
        told = (DeliveredElsewhere(context),)
        self._user_events_elsewhere = Events(
            *events, self._triggers_elsewhere, event_traces, self._tally, told
        )
        self._schedules = Schedules(
            context,
            self._gate,
            self.timers,
            Firing(context, self.memory, self._triggers, self._tally),
        )
        changes = ScheduleChanges(
            context,
            self._gate,
            self.timers,
            self._catalog,
            self._schedules,
            Pausing(context, self.memory, self._scheduler, self._lifecycle),
        )
        self.schedules = ScheduleRequests(ledger, clock, ids, options.schedule_limits, changes.announce)
        self._registration = Registration(
            context, self._gate, self._catalog, self.evaluator.cel, self._subscriptions, changes
        )
        self._operations = Operations(context, self._gate, self.memory, self._catalog, writes, runs)
        self._neighbours.build(
            self._results,
            self._events,
            self._lifecycle,
            self._scheduler,
            self._desk,
            self._reports,
            self._operations,
            self._restore,
        )
        self.ownership = Ownership(
            context,
            self._gate,
            self.memory,
            self._catalog,
            self._lifecycle,
            self._liveness,
            self._neighbours.hosts,
            self._traces,
            event_traces,
            self._background,
            self,
            self._restore,
        )
        self._neighbours.use(self.ownership)
        self._inbox = Inbox(
            self._gate,
            self._neighbours.guests,
            self._neighbours.hosts,
            self._neighbours.interest,
            self._neighbours.depths,
            self._neighbours.watching,
            self._neighbours.rows_changed,
            lambda message: changes.apply(message.tenant_id, read_change(message.body)),
            listeners,
        )
        self.timers_service = TimersService(clock, self.timers)
        self.heartbeats = Heartbeats(
            context, self._gate, self.memory, self.timers, self._neighbours.guests.workers
        )
        self.maintenance = Maintenance(self._gate, self.timers, options.maintenance_every, chores)
        self.readings = Maintenance(self._gate, self.timers, options.watch_every, readings)
        self.sweep = Sweep(
            context,
            self._gate,
            self.timers,
            self._catalog,
            self._desk,
            self,
            self._subscriptions,
            self._inbox,
            self.ownership.confirmed_until,
            self._tally,
        )
        Gauges(meter, clock, self.memory, self._epochs, self._schedules.book)

    @property
    def ready(self) -> bool:
        """Whether this process takes calls."""
        return self._gate.open and not self._gate.draining

    def start(self) -> None:
        """Begin: timers run, and the lease is tried for. Use `until_ready` to wait for it."""
        self.timers_service.start()
        self.ownership.start()
        self.heartbeats.start()
        self.maintenance.start()
        self.readings.start()
        self.sweep.start()

    async def until_ready(self) -> None:
        """Wait until this process takes calls: what it owns is in memory, the rest is owned by others."""
        await self._gate.wait_for_opening()

    async def drain(self) -> None:
        """Stop taking new work: triggers and listeners are told to try again, every stream ends cleanly, what
        was not sent goes back to its queue. Events are still taken until `stop`."""
        self._gate.draining = True
        self._scheduler.stopped = True
        await self._within_drain(self._triggers.settle())
        await self._within_drain(self._triggers_elsewhere.settle())
        self._desk.end_sessions()
        self._neighbours.guests.end_sessions()
        self._results.close()
        self._events.close()
        self._neighbours.watching.close()
        await self._within_drain(self._lifecycle.writes.settle())

    async def stop(self) -> None:
        """Finish what is in flight and give the lease back. The surfaces are stopped before."""
        self._gate.draining = True
        self._scheduler.stopped = True
        self._gate.give_up()
        self._held.give_up()
        await self._within_drain(self._finish())
        self._background.cancel()
        self._gate.set_closed()
        await self._within_drain(self.ownership.stop())
        await self.timers_service.stop()
        await self.evaluator.close()
        self.flush_metrics()
        self.timers.clear()

    async def _finish(self) -> None:
        await self.maintenance.stop()
        await self.readings.stop()
        await self.sweep.stop()
        await self.heartbeats.stop()
        await self._schedules.stop()
        await self._lifecycle.writes.settle()
        await self._background.settle()

    async def _within_drain(self, work: Coroutine[None, None, None]) -> None:
        """Without a database some of it never ends: what is not committed by then never was acknowledged.

        All steps of a stop share one deadline, or the operator's patience would be asked for once a step.
        """
        now = self._clock.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self._drain_wait
        try:
            async with asyncio.timeout(max(_LEAST_WAIT, self._stop_by - now)):
                await work
        except TimeoutError:
            _LOG.warning("the engine stops with work in flight: the database did not answer in time")

    def health(self) -> dict[str, bool]:
        """Whether each service does its work."""
        return {
            "ownership": self.ownership.healthy(),
            "timers": self.timers_service.healthy(),
            "sweep": self.sweep.healthy(),
            "heartbeats": self.heartbeats.healthy(),
            "maintenance": self.maintenance.healthy(),
            "schedules": self._schedules.healthy(),
        }

    def flush_metrics(self) -> None:
        """Hand what was counted to the instruments."""
        self._tally.flush()

    def _epochs(self) -> list[tuple[int, int]]:
        return [(lease.partition, lease.epoch) for lease in self.ownership.leases.values()]

    # -- Owner ------------------------------------------------------------------------------------------

    def gained(self, partition: int) -> None:
        """Memory is whole: answer who waited."""
        self._neighbours.gained(partition)
        self._schedules.gained()
        self.sweep.wake()
        self._background.spawn(self._inbox.gained(partition), "messages of a take-over")

    def dropped(self, partition: int) -> None:
        """The lease is gone: forget its tenants. Their streams go on, scheduled by the next owner."""

        def gone(tenant_id: TenantId) -> bool:
            return self._gate.partition(tenant_id) == partition

        workers = [worker for worker in self.memory.workers.values() if gone(worker.row.tenant_id)]
        for live in list(self.memory.tasks.values()):
            if gone(live.facts.tenant_id):
                self.timers.cancel(live.timer)
                self._lifecycle.writes.drop(live)
        for run in list(self.memory.runs.values()):
            if gone(run.facts.tenant_id):
                self._book.drop(run)
        for worker in workers:
            self.timers.cancel(worker.dead_timer)
        self.memory.forget(gone)
        self._neighbours.dropped(workers)
        self._results.forget()
        self._events.close_for(gone)
        self._results.recheck()
        self._schedules.gained()

    async def settled(self) -> None:
        """Wait for what is in flight."""
        await self._triggers.settle()
        await self._lifecycle.writes.settle()

    async def _route(
        self,
        tenant_id: TenantId,
        here: Callable[[], Awaitable[_T]],
        elsewhere: Callable[[], Awaitable[_T]],
    ) -> _T:
        """Serve a call by who schedules the tenant; if that changes meanwhile, once more."""
        if self._gate.owns(tenant_id):
            try:
                return await here()
            except Unavailable:
                if self._gate.owns(tenant_id) or self._gate.draining:
                    raise
        return await elsewhere()

    # -- the API ----------------------------------------------------------------------------------------

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, origin: Origin
    ) -> WorkflowVersion:
        """See `Engine.put_workflow`."""
        version = await self._registration.put_workflow(tenant_id, definition, asked_in(origin))
        await self._neighbours.registered(tenant_id, definition.name)
        return version

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        """See `Engine.trigger`."""
        return await self._route(
            tenant_id,
            lambda: self._triggers.one(tenant_id, trigger, origin),
            lambda: self._triggers_elsewhere.one(tenant_id, trigger, origin),
        )

    async def trigger_many(
        self, tenant_id: TenantId, triggers: Sequence[Trigger], origin: Origin
    ) -> list[UUID]:
        """See `Engine.trigger_many`."""
        return await self._route(
            tenant_id,
            lambda: self._triggers.many(tenant_id, triggers, origin),
            lambda: self._triggers_elsewhere.many(tenant_id, triggers, origin),
        )

    async def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> UserEvent:
        """See `Engine.push_event`."""
        return await self._route(
            tenant_id,
            lambda: self._user_events.push(tenant_id, event, origin),
            lambda: self._user_events_elsewhere.push(tenant_id, event, origin),
        )

    async def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        """See `Engine.push_events`."""
        return await self._route(
            tenant_id,
            lambda: self._user_events.push_many(tenant_id, events, origin),
            lambda: self._user_events_elsewhere.push_many(tenant_id, events, origin),
        )

    async def _filters_changed(self, tenant_id: TenantId) -> None:
        self.events_changed(tenant_id)
        await post_filters_changed(self._ledger, tenant_id)

    def events_changed(self, tenant_id: TenantId) -> None:
        """See `Engine.events_changed`."""
        self._subscriptions.forget(tenant_id)
        self._neighbours.filters_changed(tenant_id)

    async def register_worker(self, tenant_id: TenantId, worker: NewWorker) -> WorkerId:
        """See `Engine.register_worker`."""
        return await self._desk.register(tenant_id, worker)

    async def open_session(self, tenant_id: TenantId, worker_id: UUID) -> Session:
        """See `Engine.open_session`."""
        await self._gate.wait()
        guests = self._neighbours.guests
        session = await self._route(
            tenant_id,
            lambda: self._desk.open_session(tenant_id, worker_id),
            lambda: guests.open_session(tenant_id, worker_id),
        )
        if session.owner is guests and self._gate.owns(tenant_id):
            # The lease came while the stream was opened.
            self._neighbours.gained(self._gate.partition(tenant_id))
        return session

    async def heartbeat(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """See `Engine.heartbeat`."""
        guests = self._neighbours.guests
        await self._route(
            tenant_id,
            lambda: self._desk.heartbeat(tenant_id, worker_id),
            lambda: guests.heartbeat(tenant_id, worker_id),
        )
        if self._gate.owns(tenant_id):
            self._neighbours.pass_beat_on(tenant_id, worker_id)

    async def unsubscribe(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """See `Engine.unsubscribe`."""
        await self._gate.wait(admit_draining=True)
        guests = self._neighbours.guests
        await self._route(
            tenant_id,
            lambda: self._desk.unsubscribe(tenant_id, worker_id),
            lambda: guests.unsubscribe(tenant_id, worker_id),
        )

    async def upsert_labels(
        self, tenant_id: TenantId, worker_id: UUID, labels: dict[str, LabelValue]
    ) -> None:
        """See `Engine.upsert_labels`."""
        await self._gate.wait(admit_draining=True)
        await self._desk.upsert_labels(tenant_id, worker_id, labels)
        if not self._gate.owns(tenant_id):
            await self._neighbours.guests.changed(tenant_id, worker_id)

    async def worker_changed(self, tenant_id: TenantId, worker_id: UUID) -> None:
        """See `Engine.worker_changed`."""
        if self._gate.owns(tenant_id):
            await self._desk.changed(tenant_id, worker_id)
        else:
            await self._neighbours.guests.changed(tenant_id, worker_id)

    async def worker_event(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> None:
        """See `Engine.worker_event`."""
        await self._reports.event(tenant_id, event, origin)

    async def refresh_timeout(self, tenant_id: TenantId, task_id: UUID, seconds: float) -> datetime:
        """See `Engine.refresh_timeout`."""
        return await self._reports.refresh_timeout(tenant_id, task_id, seconds)

    async def release_slot(self, tenant_id: TenantId, task_id: UUID) -> None:
        """See `Engine.release_slot`."""
        await self._reports.release_slot(tenant_id, task_id)

    def subscribe_runs(self, tenant_id: TenantId, origin: Origin) -> Subscription:
        """See `Engine.subscribe_runs`."""
        return self._results.subscribe(tenant_id)

    async def watch_run(self, tenant_id: TenantId, run_id: UUID) -> AsyncIterator[RunEvent]:
        """See `Engine.watch_run`."""
        await self._gate.wait()
        return await self._route(
            tenant_id,
            lambda: self._events.watch_run(tenant_id, run_id),
            lambda: self._neighbours.watching.watch_run(tenant_id, run_id),
        )

    async def watch_metadata(self, tenant_id: TenantId, key: str, value: str) -> AsyncIterator[RunEvent]:
        """See `Engine.watch_metadata`."""
        await self._gate.wait()
        return await self._route(
            tenant_id,
            lambda: self._events.watch_metadata(tenant_id, key, value),
            lambda: self._neighbours.watching.watch_metadata(tenant_id, key, value),
        )

    async def put_stream_event(
        self, tenant_id: TenantId, task_id: UUID, at: datetime, chunk: bytes, index: int | None
    ) -> None:
        """See `Engine.put_stream_event`."""
        await self._gate.wait(admit_draining=True)
        await self._route(
            tenant_id,
            lambda: self._events.put_stream_event(tenant_id, task_id, at, chunk, index),
            lambda: self._neighbours.watching.put_stream_event(tenant_id, task_id, at, chunk, index),
        )

    async def put_log(
        self,
        tenant_id: TenantId,
        task_id: UUID,
        at: datetime,
        level: str | None,
        message: str,
        metadata: bytes,
        attempt: int | None,
    ) -> None:
        """See `Engine.put_log`."""
        line = tenant_id, task_id, at, level, message, metadata, attempt
        await self._route(
            tenant_id,
            lambda: self._operations.put_log(*line),
            lambda: self._neighbours.operations.put_log(*line),
        )

    async def run_details(self, tenant_id: TenantId, run_or_task_id: UUID) -> RunDetails:
        """See `Engine.run_details`."""
        return await self._operations.run_details(tenant_id, run_or_task_id)

    async def cancel(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """See `Engine.cancel`."""
        await self._gate.wait(admit_draining=True)
        return await self._route(
            tenant_id,
            lambda: self._operations.cancel(tenant_id, ids, where, origin),
            lambda: self._neighbours.operations.cancel(tenant_id, ids, where, origin),
        )

    async def replay(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """See `Engine.replay`."""
        return await self._route(
            tenant_id,
            lambda: self._operations.replay(tenant_id, ids, where, origin),
            lambda: self._neighbours.operations.replay(tenant_id, ids, where, origin),
        )
