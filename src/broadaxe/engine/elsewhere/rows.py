"""Decides about tasks that another engine schedules: on their rows, by the same rules, in one commit."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import Decision, TaskEvent, TaskStatus, WorkerLost
from broadaxe.domain.transitions import decide
from broadaxe.engine.context import EngineContext
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.scheduler.live import StepPlan
from broadaxe.engine.scheduler.writes import freed_key
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.store.ledger import Changed, StoredTask, TaskChange
from broadaxe.telemetry.context import TraceContext

_PAGE = 500


class RowsElsewhere:
    """Locks, reads, decides, writes, and leaves a message for the owner, who follows the row."""

    def __init__(self, context: EngineContext, catalog: Catalog, traces: RunTraces, tally: Tally) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._catalog = catalog
        self._traces = traces
        self._tally = tally
        self.on_ended: Callable[[TenantId, Sequence[UUID]], None] = lambda tenant_id, runs: None
        """Told of runs of which a task became final here."""

    async def change(
        self,
        stored: Sequence[StoredTask],
        event_of: Callable[[StoredTask], TaskEvent | None],
        *,
        trace: TraceContext | None = None,
        lazy: float | None = None,
    ) -> list[Changed]:
        """Apply an event to tasks of one tenant, each as its row is then. `stored`: as they were when read.

        Returns after the commit. The ledger's errors.
        """
        plans: dict[UUID, StepPlan | None] = {}
        for one in stored:
            facts = one.facts
            if facts.step_id not in plans:
                plans[facts.step_id] = await self._catalog.step(
                    facts.tenant_id, facts.version_id, facts.step_id
                )

        def judge(row: StoredTask) -> Decision | None:
            plan, event = plans.get(row.facts.step_id), event_of(row)
            if plan is None or event is None:
                return None
            return decide(row.status, plan.policy, event, self._clock.now())

        def freed(row: StoredTask, status: TaskStatus) -> UUID | None:
            plan = plans.get(row.facts.step_id)
            return None if plan is None else freed_key(row.facts, plan, status)

        found: list[Changed] = []
        for at in range(0, len(stored), _PAGE):
            page = stored[at : at + _PAGE]
            ids = tuple(one.facts.id for one in page)
            change = TaskChange(page[0].facts.tenant_id, ids, judge, freed, trace)
            found += await asyncio.shield(self._ledger.change_elsewhere(change, lazy=lazy))
        for changed in found:
            self._tell(changed, plans.get(changed.before.facts.step_id), event_of)
        ended = [
            one.before.facts.run_id for one in found if one.decision is not None and one.status.state.final
        ]
        if ended:
            self.on_ended(stored[0].facts.tenant_id, ended)
        return found

    def _tell(
        self, changed: Changed, plan: StepPlan | None, event_of: Callable[[StoredTask], TaskEvent | None]
    ) -> None:
        """Spans and counts of an attempt that ended here; the owner tells of the end of the task."""
        decision, facts = changed.decision, changed.before.facts
        if decision is None or decision.record is None or plan is None:
            return
        self._traces.attempt_ended(facts, plan, decision.record)
        if isinstance(event_of(changed.before), WorkerLost):
            self._traces.reassigned(facts, plan, decision.record)
            self._tally.retried(facts.tenant_id, "worker_lost")
        else:
            self._tally.retried(facts.tenant_id, "failure")
