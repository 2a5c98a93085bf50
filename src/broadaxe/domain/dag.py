"""Which steps of a run are decided next. Pure: what happened goes in, decisions and opened waits come out.

Each step is looked at in two stages. While a parent is open only tests on parents count; once all parents
completed, its sleeps and events are opened and only they count. In each stage an action is due when each of
its OR-groups has a condition that holds. Of several due actions skipping wins over cancelling over going.

The cost of an end is proportional to the steps that wait for it: counters instead of looks at all parents.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from broadaxe.domain.dag_graph import CANCEL, GO, NOTHING_MET, SKIP, Graph, Met, StepRule


class Outcome(IntEnum):
    """How a step ended, as those behind it see it."""

    COMPLETED = 1
    SKIPPED = 2
    FAILED = 3
    CANCELLED = 4


class Choice(IntEnum):
    """What becomes of a step."""

    GO = GO
    CANCEL = CANCEL
    SKIP = SKIP


UNMET = "Its conditions cannot be met any more"
PARENT_ENDED = "A parent failed or was cancelled"
BY_CONDITION = "A condition of the task was met"
BY_REQUEST = "Cancelled by request"


@dataclass(frozen=True, slots=True)
class Decided:
    """A step gets its task now."""

    step: int
    choice: Choice
    reason: str = ""


class Phase(IntEnum):
    """How far a step is."""

    OPEN = 1
    """Some parent is not final."""
    WAITING = 2
    """Its sleeps and events are open."""
    DECIDED = 3
    """It has a task."""
    ENDED = 4


@dataclass(slots=True)
class Node:
    """What is known about one step of one run."""

    phase: Phase
    open: int
    """Parents that are not final."""
    skipped: int = 0
    go: int = 0
    """Groups that a condition holds of, as bits."""
    cancel: int = 0
    skip: int = 0
    failed: bool = False
    """Of the on-failure step: whether some step failed."""
    outcome: Outcome | None = None


class Progress:
    """All steps of one run. A `View` takes it a step forward."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = [Node(Phase.OPEN, len(rule.parents)) for rule in graph.steps]
        if graph.on_failure is not None:
            self.nodes[graph.on_failure].open = graph.regular
        self.left = len(graph)
        """Steps that have not ended."""

    def finished(self) -> bool:
        """Whether all steps have ended."""
        return self.left == 0

    def outcomes(self) -> set[Outcome]:
        """How the steps ended so far."""
        return {node.outcome for node in self.nodes if node.outcome is not None}


class View:
    """One step forward on a `Progress`, which stays as it is until `merge`."""

    def __init__(self, progress: Progress, skipped_met: Mapping[int, Met], *, stopping: bool = False) -> None:
        self._progress = progress
        self._graph = progress.graph
        self._skipped_met = skipped_met
        self._stopping = stopping
        """The run is being cancelled: what would go is cancelled."""
        self._changed: dict[int, Node] = {}
        self._ends: deque[tuple[int, Outcome, Met]] = deque()
        self.left = progress.left
        self.decided: list[Decided] = []
        self.opened: list[int] = []
        """Steps whose sleeps and events are to be waited for from now on."""

    @property
    def progress(self) -> Progress:
        """What it is a step forward of."""
        return self._progress

    def node(self, step: int) -> Node:
        """A step as it is after this step forward. Do not change it."""
        return self._changed.get(step) or self._progress.nodes[step]

    def outcomes(self) -> set[Outcome]:
        """How the steps ended, this step forward included."""
        nodes = (self._changed.get(at, node) for at, node in enumerate(self._progress.nodes))
        return {node.outcome for node in nodes if node.outcome is not None}

    def merge(self) -> None:
        """It is committed."""
        for step, node in self._changed.items():
            self._progress.nodes[step] = node
        self._progress.left = self.left

    # -- what happens -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """The run is there: steps without parents are looked at."""
        for rule in self._graph.steps:
            if not rule.parents and rule.index != self._graph.on_failure:
                node = self._edit(rule.index)
                if node.phase is Phase.OPEN:
                    self._open(rule, node)
        self._settle()

    def end(self, step: int, outcome: Outcome, met: Met = NOTHING_MET) -> None:
        """A step ended; `met` are the tests on its output that hold."""
        self._ends.append((step, outcome, met))
        self._settle()

    def meet(self, step: int, item: int) -> None:
        """A sleep is over or an event came. Nothing happens when the step does not wait any more."""
        node = self._edit(step)
        rule = self._graph.steps[step]
        found = next((wait for wait in rule.waits if wait.item == item), None)
        if node.phase is not Phase.WAITING or found is None:
            return
        if found.action == SKIP:
            node.skip |= found.group
        elif found.action == CANCEL:
            node.cancel |= found.group
        else:
            node.go |= found.group
        self._look_at_waits(rule, node)
        self._settle()

    def give_up(self, step: int) -> None:
        """A step that only waits is cancelled."""
        node = self._edit(step)
        if node.phase is Phase.WAITING:
            self._decide(step, node, Choice.CANCEL, BY_REQUEST)
        self._settle()

    # -- the rest ---------------------------------------------------------------------------------------

    def _edit(self, step: int) -> Node:
        node = self._changed.get(step)
        if node is None:
            node = self._changed[step] = replace(self._progress.nodes[step])
        return node

    def _settle(self) -> None:
        while self._ends:
            step, outcome, met = self._ends.popleft()
            node = self._edit(step)
            if node.phase is Phase.ENDED:
                continue
            node.phase = Phase.ENDED
            node.outcome = outcome
            self.left -= 1
            for edge in self._graph.steps[step].edges:
                child = self._edit(edge.child)
                child.open -= 1
                for test in edge.tests:
                    holds = not test.expression or (edge.child, test.item) in met
                    if holds and outcome in (Outcome.COMPLETED, Outcome.SKIPPED):
                        _mark(child, test.action, test.group)
                if outcome is Outcome.SKIPPED:
                    child.skipped += 1
                if child.phase is Phase.OPEN:
                    self._look_at_parents(self._graph.steps[edge.child], child, outcome)
            if step != self._graph.on_failure:
                self._tell_on_failure(outcome)

    def _tell_on_failure(self, outcome: Outcome) -> None:
        at = self._graph.on_failure
        if at is None:
            return
        node = self._edit(at)
        node.open -= 1
        node.failed = node.failed or outcome is Outcome.FAILED
        if not node.open and node.phase is Phase.OPEN:
            self._decide(at, node, Choice.GO if node.failed else Choice.SKIP, "")

    def _look_at_parents(self, rule: StepRule, node: Node, outcome: Outcome) -> None:
        skip = rule.skip.tests
        if skip and node.skip & skip == skip:
            self._decide(rule.index, node, Choice.SKIP, BY_CONDITION)
        elif rule.skip_with_parents and node.skipped == len(rule.parents):
            self._decide(rule.index, node, Choice.SKIP, "")
        elif outcome in (Outcome.FAILED, Outcome.CANCELLED):
            self._decide(rule.index, node, Choice.CANCEL, PARENT_ENDED)
        elif rule.cancel.tests and node.cancel & rule.cancel.tests == rule.cancel.tests:
            self._decide(rule.index, node, Choice.CANCEL, BY_CONDITION)
        elif not node.open:
            if node.go & rule.go.tests == rule.go.tests:
                self._open(rule, node)
            else:
                self._decide(rule.index, node, Choice.CANCEL, UNMET)

    def _open(self, rule: StepRule, node: Node) -> None:
        """All parents completed: it goes, or waits."""
        if node.go & rule.go.waits == rule.go.waits:
            self._decide(rule.index, node, Choice.GO, "")
        elif self._stopping:
            self._decide(rule.index, node, Choice.CANCEL, BY_REQUEST)
        else:
            node.phase = Phase.WAITING
            # Tests on parents were the first stage; for skipping and cancelling the second begins anew.
            node.skip = node.cancel = 0
            self.opened.append(rule.index)

    def _look_at_waits(self, rule: StepRule, node: Node) -> None:
        skip, cancel, go = rule.skip.waits, rule.cancel.waits, rule.go.waits
        if skip and node.skip & skip == skip:
            self._decide(rule.index, node, Choice.SKIP, BY_CONDITION)
        elif cancel and node.cancel & cancel == cancel:
            self._decide(rule.index, node, Choice.CANCEL, BY_CONDITION)
        elif node.go & go == go:
            self._decide(rule.index, node, Choice.GO, "")

    def _decide(self, step: int, node: Node, choice: Choice, reason: str) -> None:
        if choice is Choice.GO and self._stopping:
            choice, reason = Choice.CANCEL, BY_REQUEST
        node.phase = Phase.DECIDED
        self.decided.append(Decided(step, choice, reason))
        if choice is Choice.SKIP:
            self._ends.append((step, Outcome.SKIPPED, self._skipped_met.get(step, NOTHING_MET)))
        elif choice is Choice.CANCEL:
            self._ends.append((step, Outcome.CANCELLED, NOTHING_MET))


def _mark(node: Node, action: int, group: int) -> None:
    if action == SKIP:
        node.skip |= group
    elif action == CANCEL:
        node.cancel |= group
    else:
        node.go |= group


def resume(
    graph: Graph,
    with_task: Iterable[int],
    ended: Iterable[tuple[int, Outcome, Met]],
    skipped_met: Mapping[int, Met],
) -> View:
    """A run as its rows say: `with_task` are steps that have their task, `ended` those that are final.

    Merge the view that comes back; its decisions are what a crash or another process left undecided, and
    `opened` names every step that waits, also those whose waits are stored already.
    """
    progress = Progress(graph)
    for step in with_task:
        progress.nodes[step].phase = Phase.DECIDED
    view = View(progress, skipped_met)
    view.begin()
    for step, outcome, met in ended:
        view.end(step, outcome, met)
    return view
