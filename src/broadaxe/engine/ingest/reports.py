"""What workers report about attempts: judged, written, answered after the commit."""

import logging
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from broadaxe.domain.ids import TenantId
from broadaxe.domain.payloads import output_problem, storable_error
from broadaxe.domain.task import (
    CancelRequested,
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
from broadaxe.engine.elsewhere.reports import ReportsElsewhere
from broadaxe.engine.gate import Gate
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.writes import TaskWrites
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import attempt_context
from broadaxe.store.ledger import StoreError

_LOG = logging.getLogger(__name__)
_LONGEST_REFRESH = 10 * 365 * 86_400.0


class Reports:
    """Takes the reports of workers."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        held: HeldCalls,
        memory: Memory,
        writes: TaskWrites,
        tally: Tally,
        conditions: Conditions,
    ) -> None:
        self._conditions = conditions
        self._ledger = context.ledger
        self._options = context.options
        self._gate = gate
        self._held = held
        self._memory = memory
        self._writes = writes
        self._tally = tally
        self._elsewhere: ReportsElsewhere | None = None

    async def event(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> None:
        """A report; returns after the commit. A stale one returns as if accepted and is counted.

        InvalidArgument for a task that never was.
        """
        while True:
            await self._admitted()
            generation = self._gate.generation_of(tenant_id)
            try:
                if self._gate.owns(tenant_id) or self._elsewhere is None:
                    await self._once(tenant_id, event, origin)
                else:
                    await self._elsewhere.event(tenant_id, event, origin)
            except Unavailable as error:
                if self._gate.open and self._gate.generation_of(tenant_id) == generation:
                    raise ResourceExhausted(error.message) from error
                # The lease changed hands meanwhile: the report is judged anew, on memory or on the row.
            else:
                return

    def use(self, elsewhere: ReportsElsewhere) -> None:
        """Take the reports about tenants that another engine schedules there."""
        self._elsewhere = elsewhere

    async def _admitted(self) -> None:
        """Hold the caller until this process may act.

        Never Unavailable: on that a worker's SDK drops its connection and the results of its other tasks.
        """
        if not self._gate.open:
            try:
                await self._gate.wait(admit_draining=True)
            except Unavailable as error:
                raise ResourceExhausted(error.message) from error

    async def _once(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> None:
        live = self._memory.task(tenant_id, event.task_id)
        if live is None:
            await self._late(tenant_id, event, origin)
            return
        attempt = live.status.attempt if event.attempt is None else event.attempt
        if 0 <= attempt <= live.status.attempt:
            origin.parent = attempt_context(live.facts, attempt)
        if event.kind is EventKind.ACKNOWLEDGED:
            return
        change = self.translate(event, attempt)
        if live.run is not None and isinstance(change, Completed):
            met = await self._conditions.met_by(live.run.dag, live.plan.index, change.output)
            change = replace(change, met=met) if met else change
        try:
            status = await self._writes.submit(live, change)
        except StoreError as error:
            if not isinstance(change, Completed | Failed):
                raise
            # The worker would repeat it for ever: the task ends with what can be stored.
            _LOG.warning("task %s: its result was refused: %s", live.id, error.message)
            text = f"The result could not be stored: {error.message}".encode()
            status = await self._writes.submit(live, Failed(attempt, text, should_not_retry=True))
        if status is None:
            self._tally.stale()

    async def refresh_timeout(self, tenant_id: TenantId, task_id: UUID, seconds: float) -> datetime:
        """Move the execution deadline on. NotFound when the task does not run."""
        if not 0 < seconds <= _LONGEST_REFRESH:
            raise InvalidArgument("increment_timeout_by: must be more than nothing and at most ten years")
        await self._admitted()
        if self._elsewhere is not None and not self._gate.owns(tenant_id):
            return await self._elsewhere.refresh_timeout(tenant_id, task_id, seconds)
        status = await self._change_running(tenant_id, task_id, TimeoutRefreshed(seconds))
        if status is None or status.timeout_at is None:
            raise NotFound(f"task {task_id} is not running")
        return status.timeout_at

    async def release_slot(self, tenant_id: TenantId, task_id: UUID) -> None:
        """Free the task's slot while it goes on. NotFound when it does not run."""
        await self._admitted()
        if self._elsewhere is not None and not self._gate.owns(tenant_id):
            await self._elsewhere.release_slot(tenant_id, task_id)
            return
        status = await self._change_running(tenant_id, task_id, SlotReleased())
        if status is None:
            live = self._memory.task(tenant_id, task_id)
            if live is None or not live.status.slot_released:
                raise NotFound(f"task {task_id} is not running")

    async def _change_running(
        self, tenant_id: TenantId, task_id: UUID, event: TaskEvent
    ) -> TaskStatus | None:
        live: LiveTask | None = self._memory.task(tenant_id, task_id)
        if live is None or live.status.state is not TaskState.ASSIGNED:
            raise NotFound(f"task {task_id} is not running")
        return await self._writes.submit(live, event)

    def translate(self, event: WorkerEvent, attempt: int) -> TaskEvent:
        """What a report says about an attempt."""
        kind, payload = event.kind, event.payload
        if kind is EventKind.STARTED:
            return Started(attempt)
        if kind is EventKind.CANCELLED:
            return CancelRequested(attempt)
        too_large = len(payload) > self._options.payload_limit
        limit = f"larger than {self._options.payload_limit} bytes"
        if kind is EventKind.FAILED:
            error = f"The error text was {limit}".encode() if too_large else storable_error(payload)
            return Failed(attempt, error, event.should_not_retry, event.retry_after)
        problem = f"{limit}" if too_large else output_problem(payload)
        if problem is not None:
            return Failed(attempt, f"The task's output is not valid: {problem}".encode())
        return Completed(attempt, payload)

    async def _late(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> None:
        """A report about a task that is not live: dropped if it ever was."""
        stored = await self._held.run(lambda: self._ledger.get_task(tenant_id, event.task_id))
        if stored is None:
            raise InvalidArgument(f"task {event.task_id} not found")
        attempt = stored.status.attempt if event.attempt is None else event.attempt
        if 0 <= attempt <= stored.status.attempt:
            origin.parent = attempt_context(stored.facts, attempt)
        self._tally.stale()
