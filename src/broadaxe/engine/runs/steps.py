"""What follows a committed decision about a step, outside the run itself: queue, watchers, spans, counts."""

from typing import Protocol

from broadaxe.clock import Clock
from broadaxe.domain.run import RunEnd
from broadaxe.domain.task import TaskState, TaskStatus
from broadaxe.engine.runs.live_run import LiveRun, WaitOver
from broadaxe.engine.scheduler.lifecycle import Lifecycle, Watchers
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces


class RunWatchers(Watchers, Protocol):
    """Who waits for the ends of runs of several steps."""

    def run_created(self, run: LiveRun) -> None:
        """A run begins, or goes on."""

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """A run is over."""


class StepLife:
    """Implements `broadaxe.engine.runs.book.Steps`."""

    def __init__(
        self,
        clock: Clock,
        memory: Memory,
        lifecycle: Lifecycle,
        traces: RunTraces,
        tally: Tally,
        watchers: tuple[RunWatchers, ...],
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._lifecycle = lifecycle
        self._traces = traces
        self._tally = tally
        self._watchers = watchers

    def born(self, live: LiveTask, worker: Worker | None, chosen_at_depth: int) -> None:
        """A task was created, in its queue or already assigned."""
        self._tally.created(live.facts.tenant_id, 1)
        self._lifecycle.born(live, worker, chosen_at_depth)

    def decided(self, live: LiveTask, reason: str) -> None:
        """A task was created final: skipped or cancelled."""
        self._tally.created(live.facts.tenant_id, 1)
        live.gone = True
        for watcher in self._watchers:
            watcher.created(live)
        self._over(live, reason)

    def again(self, live: LiveTask, before: TaskStatus, worker: Worker | None, reason: str) -> None:
        """A step that is run again was decided; `live.status` is the new one."""
        if not live.status.state.final:
            self._lifecycle.readied(live, worker)
            return
        self._memory.tasks.pop(live.id, None)
        live.gone = True
        self._over(live, reason)

    def run_created(self, run: LiveRun) -> None:
        """A run is there, or goes on."""
        for watcher in self._watchers:
            watcher.run_created(run)

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """All its steps have ended."""
        seconds = max(0.0, (end.at - run.facts.created_at).total_seconds())
        self._tally.run_over(end.state, seconds)
        self._traces.run_finished(run.facts, run.dag.graph.definition, end, _first_time(run))
        for watcher in self._watchers:
            watcher.run_finished(run, end)

    def wait_met(self, run: LiveRun, over: WaitOver) -> None:
        """A step's sleep is over, or its event came."""
        wait = run.waits.get((over.met.step, over.met.item))
        if wait is not None:
            self._traces.waited(run.facts, run.dag.steps[over.met.step], wait.wait, over.met.at)

    def _over(self, live: LiveTask, reason: str) -> None:
        finished_at = live.status.finished_at or self._clock.now()
        seconds = max(0.0, (finished_at - live.facts.created_at).total_seconds())
        skipped = live.status.state is TaskState.COMPLETED
        self._tally.finished(live.facts.tenant_id, live.status.state, seconds, of_run=True, skipped=skipped)
        self._traces.step_decided(live.facts, live.plan, live.status, reason)
        for watcher in self._watchers:
            watcher.finished(live)


def _first_time(run: LiveRun) -> bool:
    """Whether the run was never run again: its span's id is taken by its first end."""
    return not run.again
