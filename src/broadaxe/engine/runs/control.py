"""Cancelling runs of several steps, and running them again."""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from broadaxe.domain.dag_graph import Graph
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import CancelRequested, Reset, TaskState, TaskStatus
from broadaxe.domain.transitions import decide
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.runs.book import RunBook, Steps, give_up
from broadaxe.engine.runs.dag_plan import DagPlan
from broadaxe.engine.runs.live_run import LiveRun
from broadaxe.engine.runs.restore import RunRestore
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.store.ledger import StoredTask, TaskWrite
from broadaxe.store.run_ledger import RunChange, StoredRun, WholeRun

REASON = "Cancelled by request"


class RunControl:
    """Acts on whole runs."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        catalog: Catalog,
        lifecycle: Lifecycle,
        book: RunBook,
        restore: RunRestore,
        steps: Steps,
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._gate = gate
        self._memory = memory
        self._catalog = catalog
        self._lifecycle = lifecycle
        self._book = book
        self._restore = restore
        self._steps = steps

    async def cancel(self, run: LiveRun) -> bool:
        """Cancel what runs and what waits; nothing new goes meanwhile. Whether anything was cancelled."""
        run.stopping = True
        touched = False
        try:
            while not run.gone:
                lives = [live for live in run.tasks.values() if live.status.state is not TaskState.PENDING]
                futures: list[asyncio.Future[TaskStatus | None]] = [
                    self._lifecycle.writes.submit(live, CancelRequested(reason=REASON)) for live in lives
                ]
                waiting = give_up(run)
                for arrival in waiting:
                    self._book.arrived(run, arrival)
                if futures:
                    await asyncio.wait(futures)
                touched = touched or bool(waiting) or any(f.result() is not None for f in futures)
                if not lives and not waiting and run.settled():
                    break
                await self._book.settled(run)
        finally:
            run.stopping = False
        return touched

    async def replay(self, tenant_id: TenantId, run_id: UUID, tasks: Iterable[UUID] | None) -> bool:
        """Run a run again that is over: all of it, or these tasks and all behind them. False when it is not
        over, or not known."""
        if self._memory.run(tenant_id, run_id) is not None:
            return False
        whole = await self._ledger.get_whole_run(tenant_id, run_id)
        if whole is None or whole.run.end is None:
            return False
        plan = await self._catalog.version(tenant_id, whole.run.facts.version_id)
        if plan is None or plan.dag is None:
            return False
        writes = self._resets(plan.dag, whole, None if tasks is None else set(tasks))
        if not writes:
            return False
        generation = self._gate.generation_of(tenant_id)
        after = _after(whole, writes)
        # Before the rows change: then nothing can go wrong between them and memory.
        loaded = await self._restore.load(after)
        if loaded is None:
            return False
        change = RunChange(tenant_id, whole.run.facts.id, writes=tuple(writes), reopen=True)
        result = await self._ledger.change_run(change)
        if result is None:
            return False
        if self._gate.generation_of(tenant_id) != generation:
            return True  # the take-over meanwhile found it in the rows
        run = loaded.run
        self._restore.enter(loaded)
        self._steps.run_created(run)
        for live in loaded.lives:
            self._lifecycle.adopt(live)
        if len(result.written) == len(writes):
            self._restore.resume(loaded)
        else:
            self._restore.again(run)
        await self._book.settled(run)
        return True

    def _resets(self, dag: DagPlan, whole: WholeRun, wanted: set[UUID] | None) -> list[TaskWrite]:
        now = self._clock.now()
        by_step: dict[int, StoredTask] = {}
        for task in whole.tasks:
            step = dag.position(task.facts.step_id)
            if step is not None:
                by_step[step] = task
        first = [step for step, task in by_step.items() if wanted is None or task.facts.id in wanted]
        writes = []
        for step in sorted(behind(dag.graph, first)):
            if step not in by_step:
                continue
            task = by_step[step]
            status = task.status
            decision = decide(status, dag.steps[step].policy, Reset(), now)
            if decision is not None:
                writes.append(
                    TaskWrite(
                        task.facts.tenant_id,
                        task.facts.id,
                        status.attempt,
                        status.state,
                        decision.status,
                        decision.record,
                        decision.notes,
                    )
                )
        return writes


def _after(whole: WholeRun, writes: Sequence[TaskWrite]) -> WholeRun:
    """The run as its rows will be."""
    changed = {write.task_id: write.status for write in writes}
    tasks = (StoredTask(task.facts, changed.get(task.facts.id, task.status)) for task in whole.tasks)
    return WholeRun(StoredRun(whole.run.facts, None), tuple(tasks), whole.waits)


def behind(graph: Graph, first: Sequence[int]) -> set[int]:
    """These steps and all that wait for them, directly or not; the on-failure step waits for all."""
    found = set(first)
    pending = list(first)
    while pending:
        for edge in graph.steps[pending.pop()].edges:
            if edge.child not in found:
                found.add(edge.child)
                pending.append(edge.child)
    if found and graph.on_failure is not None:
        found.add(graph.on_failure)
    return found
