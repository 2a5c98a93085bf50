"""What people and programs ask about runs that exist: details, cancel, replay."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from broadaxe.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from broadaxe.domain.ids import RunId, TenantId
from broadaxe.domain.naming import run_state
from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import CancelRequested, Replayed, TaskFacts, TaskFilter, TaskState
from broadaxe.engine.api import Origin, RunDetails, TaskDetail
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.control import RunControl
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.writes import TaskWrites
from broadaxe.engine.tracing import run_context, sampled
from broadaxe.store.ledger import StoredTask

_PAGE = 500


class Operations:
    """Serves them from memory where it holds the task, else from rows."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        catalog: Catalog,
        writes: TaskWrites,
        runs: RunControl,
    ) -> None:
        self._runs = runs
        self._ledger = context.ledger
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._catalog = catalog
        self._writes = writes

    async def run_details(self, tenant_id: TenantId, run_or_task_id: UUID) -> RunDetails:
        """The run as it is now. NotFound."""
        stored = await self._ledger.get_tasks(tenant_id, [run_or_task_id])
        alone = bool(stored) and stored[0].facts.run_id == stored[0].facts.id
        over = True
        facts: TaskFacts | RunFacts
        if alone:
            facts = stored[0].facts
        else:
            # A run of several steps, which may all wait, or one of its tasks.
            run_id = stored[0].facts.run_id if stored else run_or_task_id
            runs = await self._ledger.get_runs(tenant_id, [run_id])
            if not runs:
                raise NotFound(f"run {run_or_task_id} not found")
            facts = runs[0].facts
            over = runs[0].end is not None or run_or_task_id != run_id
        done = over and all(item.status.state.final for item in stored)
        found: list[tuple[int, TaskDetail]] = []
        for item in stored:
            status = item.status
            plan = await self._catalog.step(tenant_id, item.facts.version_id, item.facts.step_id)
            at, name = (plan.index, plan.step.name) if plan is not None else (len(found), "")
            output = status.output if done else None
            error = status.error if done else None
            found.append((at, TaskDetail(item.facts.id, name, status.state, output, error)))
        tasks = tuple(detail for _, detail in sorted(found, key=lambda pair: pair[0]))
        states = [item.status.state for item in stored]
        # Steps that are not decided yet have no task: the run goes on all the same.
        state = run_state(states if over else [*states, TaskState.PENDING])
        return RunDetails(facts.run_id, facts.input, facts.metadata, state, done, tasks)

    async def cancel(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Cancel what is not final; the ids that were. Returns after the commits."""
        await self._gate.wait(admit_draining=True)
        limit = self._options.cancel_limit
        wanted = await self.wanted(tenant_id, ids, where, limit, final=False)
        runs = [run for run in (self._memory.run(tenant_id, one) for one in wanted) if run is not None]
        whole = {run.id for run in runs}
        tasks = (self._memory.task(tenant_id, one) for one in wanted)
        lives = [live for live in tasks if live is not None and live.facts.run_id not in whole]
        origin.touched += [run_context(run.facts) for run in runs if sampled(run.facts)]
        origin.touched += [run_context(live.facts) for live in lives if sampled(live.facts)]
        cancelled = [run.id for run in runs if await self._runs.cancel(run)]
        futures = [
            self._writes.submit(live, CancelRequested(reason="Cancelled by request")) for live in lives
        ]
        if futures:
            await asyncio.wait(futures)
        # One refused write is an error, but only after all had their turn.
        return cancelled + [
            live.id for live, future in zip(lives, futures, strict=True) if future.result() is not None
        ]

    async def replay(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Run final tasks again; the ids that do. Others are left out."""
        if not self._options.replay_enabled:
            raise FailedPrecondition("replay is switched off")
        await self._gate.wait()
        wanted = await self.wanted(tenant_id, ids, where, self._options.replay_limit, final=True)
        lives: list[LiveTask] = []
        steps: dict[RunId, list[UUID]] = {}
        asked = set(wanted)
        for at in range(0, len(wanted), _PAGE):
            for stored in await self._ledger.get_tasks(tenant_id, wanted[at : at + _PAGE]):
                if stored.facts.run_id != stored.facts.id:
                    steps.setdefault(stored.facts.run_id, []).append(stored.facts.id)
                    continue
                live = await self._revive(stored)
                if live is not None:
                    lives.append(live)
        origin.touched += [run_context(live.facts) for live in lives if sampled(live.facts)]
        futures = [self._writes.submit(live, Replayed()) for live in lives]
        if futures:
            await asyncio.wait(futures)
        again: list[UUID] = []
        for run_id, tasks in steps.items():
            parts = None if run_id in asked else tasks
            if await self._runs.replay(tenant_id, run_id, parts):
                again += [run_id] if parts is None else parts
        return again + [
            live.id for live, future in zip(lives, futures, strict=True) if future.result() is not None
        ]

    async def wanted(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, limit: int, final: bool
    ) -> list[UUID]:
        """The ids that a request names, or that its filter finds. InvalidArgument for too many."""
        if where is not None and ids:
            raise InvalidArgument("give either external_ids or filter, not both")
        if len(ids) > limit:
            raise InvalidArgument(f"external_ids: at most {limit}")
        if where is None:
            return list(dict.fromkeys(ids))
        found = await self._ledger.find_tasks(tenant_id, where, limit)
        runs = await self._ledger.find_runs(tenant_id, where, limit)
        wanted: list[UUID] = [run.facts.id for run in runs if (run.end is not None) is final]
        return wanted + [task_id for task_id, state in found if state.final is final]

    async def _revive(self, stored: StoredTask) -> LiveTask | None:
        """A final task as a live one; it enters memory when its replay is committed."""
        facts = stored.facts
        if not stored.status.state.final or self._memory.task(facts.tenant_id, facts.id) is not None:
            return None
        plan = await self._catalog.version(facts.tenant_id, facts.version_id)
        if plan is None:
            return None
        return LiveTask(
            facts, stored.status, plan, need_of(plan, facts), self._memory.next_order(), facts.input
        )
