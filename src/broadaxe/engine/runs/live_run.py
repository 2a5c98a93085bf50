"""The owner's memory of a run that is not over."""

from asyncio import Future
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from broadaxe.domain.dag import Decided, Outcome, Progress, View
from broadaxe.domain.dag_graph import Met, WaitRule
from broadaxe.domain.payloads import says_skipped
from broadaxe.domain.run import MetWait, RunFacts, Wait
from broadaxe.domain.task import Decision, TaskState, TaskStatus
from broadaxe.engine.runs.dag_plan import DagPlan
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.timers import Timer
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.store.run_ledger import RunChange


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What a step left."""

    task_id: UUID
    attempt: int
    state: TaskState
    worker_id: UUID | None
    output: bytes | None
    error: bytes | None
    kept: bool
    """False when output and error were too large to keep: the row has them."""


@dataclass(slots=True, eq=False)
class OpenWait:
    """A sleep or an event that a step waits for."""

    run: "LiveRun"
    wait: Wait
    rule: WaitRule
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step's task became final, and that is committed."""

    step: int
    outcome: Outcome
    met: Met


@dataclass(frozen=True, slots=True)
class WaitOver:
    """A sleep is over or an event came."""

    met: MetWait
    answer: "Future[None] | None" = None
    """Who waits until it is committed."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A step that only waits is cancelled."""

    step: int


Arrival = StepEnded | WaitOver | GivenUp


@dataclass(slots=True, eq=False)
class Coming:
    """A step's task that is being created; `worker` has its slot reserved."""

    step: int
    live: LiveTask
    worker: Worker | None
    decided: Decided


@dataclass(slots=True, eq=False)
class Again:
    """A step that is run again and is decided now."""

    coming: Coming
    before: TaskStatus
    decision: Decision


@dataclass(slots=True, eq=False)
class Flight:
    """A change of a run that is being committed, with what follows in memory when it is."""

    view: View
    change: RunChange
    new: list[Coming] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    arrivals: Sequence[Arrival] = ()
    carrier: LiveTask | None = None
    """The task with whose end it is committed; None when it goes by itself."""
    generation: int = 0
    """The opening of the gate that it was planned under."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """A run. `progress` is what is committed, never more."""

    facts: RunFacts
    dag: DagPlan
    progress: Progress
    input: bytes | None
    """None when it was too large to keep."""
    ends: dict[int, StepEnd] = field(default_factory=dict)
    tasks: dict[int, LiveTask] = field(default_factory=dict)
    """Tasks that are not final, by step."""
    waits: dict[tuple[int, int], OpenWait] = field(default_factory=dict)
    data: dict[int, dict[str, bytes]] = field(default_factory=dict)
    """What met the waits of a step that goes, by step and key."""
    arrived: deque[Arrival] = field(default_factory=deque)
    flight: Flight | None = None
    busy: bool = False
    """Rows are being read again: what arrives waits."""
    doubtful: bool = False
    """A row was changed elsewhere while a change was in flight: they are read when that has landed."""
    stopping: bool = False
    """It is being cancelled: nothing new goes."""
    again: bool = False
    """A person ran it, or some of its steps, again."""
    gone: bool = False
    failures: int = 0
    idle: "list[Future[None]]" = field(default_factory=list)
    """Who waits until nothing is in flight."""
    kept_bytes: int = 0

    @property
    def id(self) -> UUID:
        """The run's id."""
        return self.facts.id

    def view(self) -> View:
        """A step forward."""
        return View(self.progress, self.dag.skipped_met or {}, stopping=self.stopping)

    def settled(self) -> bool:
        """Whether nothing is on its way."""
        return self.flight is None and not self.busy and not self.arrived

    def end_step(self, step: int, live_id: UUID, status: TaskStatus, limits: tuple[int, int]) -> None:
        """Keep what a step left, unless it, or all together, is too large."""
        size = len(status.output or b"") + len(status.error or b"")
        kept = size <= limits[0] and self.kept_bytes + size <= limits[1]
        if kept:
            self.kept_bytes += size
        self.ends[step] = StepEnd(
            live_id,
            status.attempt,
            status.state,
            status.worker_id,
            status.output if kept else None,
            status.error if kept else None,
            kept,
        )
        self.tasks.pop(step, None)

    def drop_input(self, kept: int) -> None:
        """Forget an input larger than that; a send reads it again."""
        if self.input is not None and len(self.input) > kept:
            self.input = None


def parents_of(live: LiveTask) -> tuple[tuple[UUID, int], ...]:
    """Task and last attempt of each parent that ran, for links."""
    run = live.run
    if run is None:
        return ()
    ends = (run.ends[parent] for parent in run.dag.before(live.plan.index) if parent in run.ends)
    return tuple((end.task_id, end.attempt) for end in ends if end.worker_id is not None)


def outcome_of(status: TaskStatus) -> Outcome:
    """How a final task looks to the steps behind it. An output that says so itself counts as skipped."""
    if status.state is TaskState.FAILED:
        return Outcome.FAILED
    if status.state is TaskState.CANCELLED:
        return Outcome.CANCELLED
    return Outcome.SKIPPED if says_skipped(status.output) else Outcome.COMPLETED
