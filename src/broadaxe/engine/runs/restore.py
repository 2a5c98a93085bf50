"""A run out of its rows: after a take-over, before it is run again, or when a row was changed elsewhere."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from broadaxe.domain.dag import Outcome, Phase, Progress, View, resume
from broadaxe.domain.dag_graph import CANCEL, NOTHING_MET, SKIP, Met
from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.book import RunBook, Steps
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.live_run import Flight, LiveRun, outcome_of
from broadaxe.engine.runs.payloads import step_payload
from broadaxe.engine.runs.waits import WaitBook
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.store.ledger import StoredTask
from broadaxe.store.run_ledger import StoredWait, WholeRun

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run that was read, not yet told to anybody."""

    run: LiveRun
    lives: tuple[LiveTask, ...]
    """Its tasks that are not final."""
    view: View
    waits: tuple[StoredWait, ...]


class RunRestore:
    """Reads runs, and says what their rows leave undecided."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        timers: Timers,
        catalog: Catalog,
        conditions: Conditions,
        book: RunBook,
        waits: WaitBook,
        lifecycle: Lifecycle,
        background: Background,
        steps: Steps,
    ) -> None:
        self._steps = steps
        self._ledger = context.ledger
        self._clock = context.clock
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._catalog = catalog
        self._conditions = conditions
        self._book = book
        self._waits = waits
        self._lifecycle = lifecycle
        self._background = background
        book.use(self.again)

    async def load(self, whole: WholeRun) -> Loaded | None:
        """A run that memory does not have, and those of its tasks that are not final. None when its version
        is not stored."""
        facts = whole.run.facts
        plan = await self._catalog.version(facts.tenant_id, facts.version_id)
        if plan is None or plan.dag is None:
            _LOG.error("run %s: its version %s is not stored", facts.id, facts.version_id)
            return None
        await self._conditions.prepare(plan.dag)
        run = LiveRun(facts, plan.dag, Progress(plan.dag.graph), facts.input)
        run.drop_input(self._options.kept_input)
        run.busy = True
        run.again = any(_ran_again(task) for task in whole.tasks)
        lives: list[LiveTask] = []
        for task in whole.tasks:
            live = self._live(run, task)
            if live is not None:
                lives.append(live)
                run.tasks[live.plan.index] = live
        return Loaded(run, tuple(lives), await self._view(run, whole), whole.waits)

    def enter(self, loaded: Loaded) -> None:
        """The run is known from now on."""
        self._memory.runs[loaded.run.id] = loaded.run

    def resume(self, loaded: Loaded) -> None:
        """Go on where the rows stand: write what they leave undecided. The gate is open."""
        run = loaded.run
        if run.gone:
            return
        run.progress = loaded.view.progress
        self._book.resumed(run, self._open_waits(run, loaded.waits, loaded.view))

    async def arrived(self, tenant_id: TenantId, run_id: UUID) -> None:
        """A run that another engine created, or opened again: it is decided here."""
        known = self._memory.run(tenant_id, run_id)
        if known is not None:
            self._book.doubt(known)
            return
        whole = await self._ledger.get_whole_run(tenant_id, run_id)
        if whole is None or whole.run.end is not None:
            return
        loaded = await self.load(whole)
        if loaded is None or self._memory.run(tenant_id, run_id) is not None:
            return
        if self._gate.owns(tenant_id):
            self.enter(loaded)
            self._steps.run_created(loaded.run)
            for live in loaded.lives:
                self._lifecycle.adopt(live)
            self.resume(loaded)

    def again(self, run: LiveRun) -> None:
        """Memory and rows of a run differ: the rows are right."""
        self._background.spawn(self._again(run), "reading a run again")

    async def _again(self, run: LiveRun) -> None:
        try:
            whole = await self._ledger.get_whole_run(run.facts.tenant_id, run.id)
        except BroadaxeError:
            self._timers.after(self._options.retry_write, partial(self.again, run))
            return
        if run.gone or whole is None or not self._gate.owns(run.facts.tenant_id):
            return
        self._waits.close_run(run)
        run.ends.clear()
        run.data.clear()
        run.kept_bytes = 0
        for task in whole.tasks:
            step = run.dag.position(task.facts.step_id)
            if step is None:
                continue
            known = self._memory.tasks.get(task.facts.id)
            if known is None and not task.status.state.final:
                live = self._live(run, task)
                if live is not None:
                    run.tasks[step] = live
                    self._lifecycle.adopt(live)
            elif known is not None and known.status != task.status and not known.writing:
                self._lifecycle.follow(known, task)
        view = await self._view(run, whole)
        self.resume(Loaded(run, (), view, whole.waits))

    def _live(self, run: LiveRun, task: StoredTask) -> LiveTask | None:
        step = run.dag.position(task.facts.step_id)
        if step is None or task.status.state.final:
            return None
        plan = run.dag.steps[step]
        order = self._memory.next_order()
        return LiveTask(task.facts, task.status, plan, need_of(plan, task.facts), order, None, run)

    async def _view(self, run: LiveRun, whole: WholeRun) -> View:
        """The evaluation of the rows."""
        dag = run.dag
        with_task: list[int] = []
        final: list[tuple[StoredTask, int]] = []
        for task in whole.tasks:
            step = dag.position(task.facts.step_id)
            if step is None or task.status.state is TaskState.PENDING:
                continue
            with_task.append(step)
            if task.status.state.final:
                final.append((task, step))
        decided = set(with_task)
        final.sort(key=lambda one: (one[0].status.finished_at or one[0].status.queued_at, one[1]))
        ended: list[tuple[int, Outcome, Met]] = []
        limits = (self._options.kept_input, self._options.kept_run)
        for task, step in final:
            run.end_step(step, task.facts.id, task.status, limits)
            outcome = outcome_of(task.status)
            met = NOTHING_MET
            good = outcome in (Outcome.COMPLETED, Outcome.SKIPPED)
            if good and any(edge.child not in decided for edge in dag.graph.steps[step].edges):
                met = await self._conditions.met_by(dag, step, task.status.output)
            ended.append((step, outcome, met))
        return resume(dag.graph, with_task, ended, dag.skipped_met or {})

    def _open_waits(self, run: LiveRun, stored: Sequence[StoredWait], view: View) -> Flight | None:
        """Waits that rows hold are opened in memory; those that are over count as arrived."""
        attempts = {step: live.status.attempt for step, live in run.tasks.items()}
        known = _of_this_round(stored, attempts)
        for one in known.values():
            _remember(run, one)
        missing = []
        for step in view.opened:
            attempt = attempts.get(step, 0)
            found = [known.get((step, rule.item)) for rule in run.dag.graph.steps[step].waits]
            held = [one for one in found if one is not None and one.wait.attempt == attempt]
            if len(held) < len(found):
                missing.append(step)
                continue
            for one in held:
                if one.met_at is not None:
                    view.meet(step, one.wait.item)
            if view.node(step).phase is Phase.WAITING:
                for one in held:
                    if one.met_at is None:
                        self._waits.open(run, one.wait)
        view.opened[:] = missing
        return self._book.changes.plan(run, view, self._clock.now()) or self._merged(view)

    @staticmethod
    def _merged(view: View) -> None:
        view.merge()


def _ran_again(task: StoredTask) -> bool:
    """Whether a person ran it again: some attempt is neither the first nor a retry."""
    return task.status.attempt > task.status.app_retries + task.status.internal_retries


def _of_this_round(
    stored: Sequence[StoredWait], attempts: Mapping[int, int]
) -> dict[tuple[int, int], StoredWait]:
    """The waits that belong to the attempts that steps are in."""
    return {
        (one.wait.step, one.wait.item): one
        for one in stored
        if one.wait.attempt == attempts.get(one.wait.step, one.wait.attempt)
    }


def _remember(run: LiveRun, one: StoredWait) -> None:
    """What met a step's waits goes with its task."""
    if one.met_at is None:
        return
    for rule in run.dag.graph.steps[one.wait.step].waits:
        if rule.item == one.wait.item and rule.action not in (SKIP, CANCEL):
            run.data.setdefault(one.wait.step, {})[rule.condition.data_key] = one.data or b"null"


def stored_payload(whole: WholeRun, plan: StepPlan) -> bytes | None:
    """The JSON text of a step's START, out of the rows of its run."""
    assert plan.dag is not None
    run = LiveRun(whole.run.facts, plan.dag, Progress(plan.dag.graph), whole.run.facts.input)
    own: StoredTask | None = None
    everything = (sys.maxsize, sys.maxsize)
    for task in whole.tasks:
        step = plan.dag.position(task.facts.step_id)
        if step == plan.index:
            own = task
        elif step is not None and task.status.state.final:
            run.end_step(step, task.facts.id, task.status, everything)
    if own is None:
        return None
    for one in whole.waits:
        if one.wait.step == plan.index:
            _remember(run, one)
    return step_payload(LiveTask(own.facts, own.status, plan, need_of(plan, own.facts), 0, None, run))
