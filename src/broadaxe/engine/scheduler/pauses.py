"""Which workflows are paused, and the waiting tasks that are kept from their queues because of it."""

from collections.abc import Callable, Iterable
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.schedule import Pause
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.store.schedule_ledger import WorkflowPause

Key = tuple[UUID, UUID]
"""Tenant and workflow."""


class Pauses:
    """The owner's memory of them."""

    def __init__(self) -> None:
        self._pauses: dict[Key, Pause] = {}
        self._parked: dict[Key, dict[LiveTask, None]] = {}

    def load(self, rows: Iterable[WorkflowPause]) -> None:
        """What the rows say, at a take-over."""
        self._pauses = {(row.tenant_id, row.workflow_id): row.pause for row in rows}

    def set(self, tenant_id: UUID, workflow_id: UUID, pause: Pause | None) -> None:
        """A workflow was paused or resumed."""
        key = (tenant_id, workflow_id)
        if pause is None or (pause.paused_at is None and pause.resumed_at is None):
            self._pauses.pop(key, None)
        else:
            self._pauses[key] = pause

    def get(self, tenant_id: UUID, workflow_id: UUID) -> Pause | None:
        """What is known of a workflow; None if it never was paused."""
        return self._pauses.get((tenant_id, workflow_id)) if self._pauses else None

    def of(self, live: LiveTask) -> Pause | None:
        """What is known of a task's workflow."""
        return self.get(live.facts.tenant_id, live.facts.workflow_id)

    def holds(self, tenant_id: UUID, workflow_id: UUID) -> bool:
        """Whether the workflow is paused now."""
        pause = self.get(tenant_id, workflow_id)
        return pause is not None and pause.active

    def park(self, live: LiveTask) -> bool:
        """Keep a waiting task from its queue if its workflow is paused; whether that is so."""
        if not self.holds(live.facts.tenant_id, live.facts.workflow_id):
            return False
        self._parked.setdefault((live.facts.tenant_id, live.facts.workflow_id), {})[live] = None
        return True

    def leave(self, live: LiveTask) -> None:
        """A task waits no more; fine if it was not kept."""
        key = (live.facts.tenant_id, live.facts.workflow_id)
        parked = self._parked.get(key)
        if parked is not None and parked.pop(live, self) is None and not parked:
            del self._parked[key]

    def parked(self, tenant_id: UUID, workflow_id: UUID) -> list[LiveTask]:
        """The tasks of a workflow that are kept, the first come first."""
        return list(self._parked.get((tenant_id, workflow_id), ()))

    def everyone(self) -> Iterable[LiveTask]:
        """All tasks that are kept."""
        return [live for parked in self._parked.values() for live in parked]

    def forget(self, gone: Callable[[TenantId], bool]) -> None:
        """Forget the tenants of a lease that is gone."""
        for key in [key for key in self._pauses if gone(TenantId(key[0]))]:
            del self._pauses[key]
        for key in [key for key in self._parked if gone(TenantId(key[0]))]:
            del self._parked[key]
