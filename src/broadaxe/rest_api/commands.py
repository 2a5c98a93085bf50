"""What the HTTP API may change, as one Protocol, and its in-process implementation over the engine."""

from collections.abc import Awaitable, Sequence
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import Engine, NewUserEvent, Origin, Refusal, Trigger
from broadaxe.engine.filters import Filters
from broadaxe.engine.schedules.requests import ScheduleRequests


class Commands(Protocol):
    """Changes. Errors are those of `broadaxe.domain.errors`; a call returns once its change is committed."""

    @property
    def filters(self) -> Filters:
        """Changes of filters."""

    def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> Awaitable[UUID]:
        """Start a run; its id. InvalidArgument, NotFound (unknown workflow, named), Unimplemented,
        ResourceExhausted, Unavailable."""

    def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> Awaitable[UserEvent]:
        """Store a user event with the runs it starts. InvalidArgument, ResourceExhausted, Unavailable."""

    def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> Awaitable[list[UserEvent | Refusal]]:
        """Store many, answers in order. InvalidArgument; of wrong ones in a bulk either answers or, naming
        all of them, InvalidArgument: the others are stored."""

    def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> Awaitable[list[UUID]]:
        """Cancel runs or tasks; the ids affected. Unknown and final ones are left out."""

    def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> Awaitable[list[UUID]]:
        """Run final tasks again; the ids affected."""

    def pause_worker(self, tenant_id: TenantId, worker_id: UUID, paused: bool) -> Awaitable[bool]:
        """Pause or resume a worker; False for an unknown one."""

    @property
    def schedules(self) -> ScheduleRequests:
        """Crons, planned runs, pauses and deletions of workflows."""


class WorkerPausing(Protocol):
    """Where a worker's pause is written; the ledger is one."""

    def set_paused(self, tenant_id: TenantId, worker_id: WorkerId, paused: bool) -> Awaitable[bool]: ...


class EngineCommands:
    """Changes through the engine of the same process."""

    def __init__(self, engine: Engine, workers: WorkerPausing) -> None:
        self.filters = engine.filters
        self._engine = engine
        self.schedules = engine.schedules
        self._workers = workers

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        return await self._engine.trigger(tenant_id, trigger, origin)

    async def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> UserEvent:
        return await self._engine.push_event(tenant_id, event, origin)

    async def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        return await self._engine.push_events(tenant_id, events, origin)

    async def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        return await self._engine.cancel(tenant_id, ids, None, origin)

    async def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        return await self._engine.replay(tenant_id, ids, None, origin)

    async def pause_worker(self, tenant_id: TenantId, worker_id: UUID, paused: bool) -> bool:
        if not await self._workers.set_paused(tenant_id, WorkerId(worker_id), paused):
            return False
        await self._engine.worker_changed(tenant_id, worker_id)
        return True
