"""Pausing and resuming workflows: waiting tasks leave their queues and come back. Running ones go on."""

from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.engine.context import EngineContext
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler


class Pausing:
    """Makes memory follow the rows of workflows."""

    def __init__(
        self, context: EngineContext, memory: Memory, scheduler: Scheduler, lifecycle: Lifecycle
    ) -> None:
        self._schedules = context.ledger.schedules
        self._memory = memory
        self._scheduler = scheduler
        self._lifecycle = lifecycle

    async def changed(self, tenant_id: TenantId, workflow_id: UUID) -> None:
        """A workflow's row was changed: read it, and move what waits."""
        pause = await self._schedules.get_pause(tenant_id, workflow_id)
        pauses = self._memory.pauses
        pauses.set(tenant_id, workflow_id, pause)
        moved: list[LiveTask]
        if pause is not None and pause.active:
            moved = [live for live in self._memory.tasks.values() if _waits(live, tenant_id, workflow_id)]
            for live in moved:
                self._scheduler.remove(live)
        else:
            moved = pauses.parked(tenant_id, workflow_id)
            for live in moved:
                pauses.leave(live)
        for live in moved:
            self._scheduler.enqueue(live)
            self._lifecycle.arm(live)


def _waits(live: LiveTask, tenant_id: TenantId, workflow_id: UUID) -> bool:
    facts = live.facts
    return (
        facts.workflow_id == workflow_id
        and facts.tenant_id == tenant_id
        and live.status.state is TaskState.QUEUED
        and not live.writing
    )
