"""What comes in: registrations, triggers, events, due times, reports, cancels and replays."""

import logging

from broadaxe.domain.ids import TenantId
from broadaxe.engine.elsewhere.events import DeliveredElsewhere
from broadaxe.engine.event_tracing import EventTraces
from broadaxe.engine.filters import Filters, post_filters_changed
from broadaxe.engine.ingest.events import EventListener, Events
from broadaxe.engine.ingest.keys import Keys
from broadaxe.engine.ingest.log_lines import LogLines
from broadaxe.engine.ingest.operations import Operations
from broadaxe.engine.ingest.registration import Registration
from broadaxe.engine.ingest.reports import Reports
from broadaxe.engine.ingest.subscriptions import Subscriptions
from broadaxe.engine.ingest.trigger import Triggers
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.runs import Runs
from broadaxe.engine.parts.scheduling import Scheduling
from broadaxe.engine.scheduler.pausing import Pausing
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.engine.schedules.changes import ScheduleChanges
from broadaxe.engine.schedules.firing import Firing
from broadaxe.engine.schedules.requests import ScheduleRequests
from broadaxe.engine.schedules.service import Schedules
from broadaxe.telemetry.logs import RateLimited

_LOG = logging.getLogger(__name__)


class Intake:
    """The parts that take calls, and start runs by themselves."""

    def __init__(
        self, ground: Ground, scheduling: Scheduling, runs: Runs, listeners: tuple[EventListener, ...]
    ) -> None:
        """`listeners` hear of user events, after the waits of runs."""
        self._ground = ground
        self.subscriptions = Subscriptions(ground.context)
        ground.catalog.on_forget.append(self.subscriptions.forget)
        self._build_triggers(scheduling, runs)
        self._build_events((runs.waits, *listeners))
        self._build_schedules(scheduling)
        self._build_operations(scheduling, runs)

    def _build_triggers(self, scheduling: Scheduling, runs: Runs) -> None:
        ground = self._ground
        self._keys = Keys(ground.context, ground.evaluator)
        parts = (
            ground.context,
            ground.gate,
            ground.memory,
            ground.catalog,
            scheduling.scheduler,
            scheduling.lifecycle,
            ground.traces,
            ground.tally,
            self._keys,
            runs.book,
            runs.conditions,
        )
        self.triggers = Triggers(*parts)
        self.triggers_elsewhere = Triggers(*parts, elsewhere=scheduling.neighbours.depths)

    def _build_events(self, listeners: tuple[EventListener, ...]) -> None:
        ground, context = self._ground, self._ground.context
        self.filters = Filters(
            context.ledger.events, ground.evaluator.cel, context.options.filter_limits, self._filters_changed
        )
        self.listeners = listeners
        self.event_traces = EventTraces(context)
        complaint = RateLimited(_LOG, context.clock)
        parts = (
            context,
            ground.gate,
            ground.catalog,
            self.subscriptions,
            ground.evaluator,
            self._keys,
            complaint,
        )
        self.events = Events(*parts, self.triggers, self.event_traces, ground.tally, listeners)
        told = (DeliveredElsewhere(context),)
        self.events_elsewhere = Events(*parts, self.triggers_elsewhere, self.event_traces, ground.tally, told)

    def _build_schedules(self, scheduling: Scheduling) -> None:
        ground, context = self._ground, self._ground.context
        firing = Firing(context, ground.memory, self.triggers, ground.tally)
        self.schedules = Schedules(context, ground.gate, ground.timers, firing)
        self.schedule_changes = ScheduleChanges(
            context,
            ground.gate,
            ground.timers,
            ground.catalog,
            self.schedules,
            Pausing(context, ground.memory, scheduling.scheduler, scheduling.lifecycle),
        )
        self.schedule_requests = ScheduleRequests(
            context.ledger,
            context.clock,
            context.ids,
            context.options.schedule_limits,
            self.schedule_changes.announce,
        )

    def _build_operations(self, scheduling: Scheduling, runs: Runs) -> None:
        ground, context = self._ground, self._ground.context
        writes = scheduling.lifecycle.writes
        self.registration = Registration(
            context,
            ground.gate,
            ground.catalog,
            ground.evaluator.cel,
            self.subscriptions,
            self.schedule_changes,
        )
        self.reports = Reports(
            context, ground.gate, ground.held, ground.memory, writes, ground.tally, runs.conditions
        )
        self.operations = Operations(
            context, ground.gate, ground.memory, ground.catalog, writes, runs.control
        )
        self.log_lines = LogLines(context, ground.gate, ground.memory, RowReads(context, ground.background))
        scheduling.neighbours.build(
            scheduling.results,
            scheduling.run_events,
            scheduling.lifecycle,
            scheduling.scheduler,
            scheduling.desk,
            self.reports,
            self.operations,
            runs.restore,
        )

    async def _filters_changed(self, tenant_id: TenantId) -> None:
        self.subscriptions.forget(tenant_id)
        await post_filters_changed(self._ground.context.ledger, tenant_id)
