"""What workers report here about tasks that another engine schedules."""

import logging
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument, NotFound
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import (
    Completed,
    Failed,
    SlotReleased,
    Started,
    TaskEvent,
    TaskState,
    TaskStatus,
    TimeoutRefreshed,
)
from broadaxe.engine.api import EventKind, Origin, WorkerEvent
from broadaxe.engine.context import EngineContext
from broadaxe.engine.elsewhere.rows import RowsElsewhere
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import attempt_context, run_context
from broadaxe.store.ledger import Changed, StoredTask, StoreError

_LOG = logging.getLogger(__name__)


class ReportsElsewhere:
    """The same judgement as `Reports`, on the row instead of on memory."""

    def __init__(
        self,
        context: EngineContext,
        held: HeldCalls,
        reads: RowReads,
        rows: RowsElsewhere,
        tally: Tally,
        translate: Callable[[WorkerEvent, int], TaskEvent],
    ) -> None:
        self._reads = reads
        self._started_hold = context.options.started_hold
        self._held = held
        self._rows = rows
        self._tally = tally
        self._translate = translate

    async def event(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> None:
        """A report; returns after the commit. A stale one returns as if accepted and is counted.

        InvalidArgument for a task that never was.
        """
        stored = await self._held.run(lambda: self._reads.get(tenant_id, event.task_id))
        if stored is None:
            raise InvalidArgument(f"task {event.task_id} not found")
        attempt = stored.status.attempt if event.attempt is None else event.attempt
        if 0 <= attempt <= stored.status.attempt:
            origin.parent = attempt_context(stored.facts, attempt)
        if event.kind is EventKind.ACKNOWLEDGED:
            return
        change = self._translate(event, attempt)
        lazy = self._started_hold if isinstance(change, Started) and self._started_hold > 0 else None
        try:
            changed = await self._change(stored, change, lazy)
        except StoreError as error:
            if not isinstance(change, Completed | Failed):
                raise
            # The worker would repeat it for ever: the task ends with what can be stored.
            _LOG.warning("task %s: its result was refused: %s", event.task_id, error.message)
            text = f"The result could not be stored: {error.message}".encode()
            changed = await self._change(stored, Failed(attempt, text, should_not_retry=True), None)
        if changed is None or changed.decision is None:
            self._tally.stale()

    async def refresh_timeout(self, tenant_id: TenantId, task_id: UUID, seconds: float) -> datetime:
        """Move the execution deadline on. NotFound when the task does not run."""
        status = await self._change_running(tenant_id, task_id, TimeoutRefreshed(seconds))
        if status is None or status.timeout_at is None:
            raise NotFound(f"task {task_id} is not running")
        return status.timeout_at

    async def release_slot(self, tenant_id: TenantId, task_id: UUID) -> None:
        """Free the task's slot while it goes on. NotFound when it does not run."""
        if await self._change_running(tenant_id, task_id, SlotReleased()) is None:
            raise NotFound(f"task {task_id} is not running")

    async def _change_running(
        self, tenant_id: TenantId, task_id: UUID, event: TaskEvent
    ) -> TaskStatus | None:
        stored = await self._held.run(lambda: self._reads.get(tenant_id, task_id))
        if stored is None or stored.status.state is not TaskState.ASSIGNED:
            raise NotFound(f"task {task_id} is not running")
        changed = await self._change(stored, event, None)
        return None if changed is None or changed.status.state is not TaskState.ASSIGNED else changed.status

    async def _change(self, stored: StoredTask, event: TaskEvent, lazy: float | None) -> Changed | None:
        # An attempt that was never given to a worker may leave no span.
        assigned = stored.status.state is TaskState.ASSIGNED
        facts, number = stored.facts, stored.status.attempt
        trace = attempt_context(facts, number) if assigned else run_context(facts)
        found = await self._rows.change(
            [stored], lambda row: event, trace=trace if trace.sampled else None, lazy=lazy
        )
        return found[0] if found else None
