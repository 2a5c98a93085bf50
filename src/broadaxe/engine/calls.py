"""The calls that the API rooms make, each passed on to the part that serves it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.task import TaskFilter
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import LabelValue, WorkflowDefinition, WorkflowVersion
from broadaxe.engine.api import (
    NewLogLine,
    NewUserEvent,
    NewWorker,
    Origin,
    Refusal,
    RunDetails,
    RunEvent,
    Trigger,
    WorkerEvent,
)
from broadaxe.engine.dispatch.results import Subscription
from broadaxe.engine.dispatch.sessions import Session
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.intake import Intake
from broadaxe.engine.parts.scheduling import Scheduling
from broadaxe.engine.schedules.requests import asked_in

_T = TypeVar("_T")


class Calls:
    """The calls of `engine.api.Engine`."""

    def __init__(self, ground: Ground, scheduling: Scheduling, intake: Intake) -> None:
        self._gate = ground.gate
        self._neighbours = scheduling.neighbours
        self._desk = scheduling.desk
        self._results = scheduling.results
        self._run_events = scheduling.run_events
        self._registration = intake.registration
        self._triggers = intake.triggers
        self._triggers_elsewhere = intake.triggers_elsewhere
        self._events = intake.events
        self._events_elsewhere = intake.events_elsewhere
        self._reports = intake.reports
        self._operations = intake.operations
        self._log_lines = intake.log_lines
        self.filters = intake.filters
        self.schedules = intake.schedule_requests

    @property
    def ready(self) -> bool:
        """Whether this process takes calls."""
        return self._gate.open and not self._gate.draining

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
            lambda: self._events.push(tenant_id, event, origin),
            lambda: self._events_elsewhere.push(tenant_id, event, origin),
        )

    async def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        """See `Engine.push_events`."""
        return await self._route(
            tenant_id,
            lambda: self._events.push_many(tenant_id, events, origin),
            lambda: self._events_elsewhere.push_many(tenant_id, events, origin),
        )

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
            lambda: self._run_events.watch_run(tenant_id, run_id),
            lambda: self._neighbours.watching.watch_run(tenant_id, run_id),
        )

    async def watch_metadata(self, tenant_id: TenantId, key: str, value: str) -> AsyncIterator[RunEvent]:
        """See `Engine.watch_metadata`."""
        await self._gate.wait()
        return await self._route(
            tenant_id,
            lambda: self._run_events.watch_metadata(tenant_id, key, value),
            lambda: self._neighbours.watching.watch_metadata(tenant_id, key, value),
        )

    async def put_stream_event(
        self, tenant_id: TenantId, task_id: UUID, at: datetime, chunk: bytes, index: int | None
    ) -> None:
        """See `Engine.put_stream_event`."""
        await self._gate.wait(admit_draining=True)
        await self._route(
            tenant_id,
            lambda: self._run_events.put_stream_event(tenant_id, task_id, at, chunk, index),
            lambda: self._neighbours.watching.put_stream_event(tenant_id, task_id, at, chunk, index),
        )

    async def put_log(self, tenant_id: TenantId, line: NewLogLine) -> None:
        """See `Engine.put_log`."""
        await self._route(
            tenant_id,
            lambda: self._log_lines.put(tenant_id, line, owned=True),
            lambda: self._log_lines.put(tenant_id, line, owned=False),
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
