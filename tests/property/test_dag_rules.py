"""The incremental evaluation of runs against a small naive model of the match rules.

The model keeps what happened as plain sets and looks at every step anew after each event.
"""

from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from broadaxe.domain.dag import Choice, Outcome, Phase, Progress, View, resume
from broadaxe.domain.dag_graph import Graph, parents_of
from broadaxe.domain.step_graph import find_cycle
from broadaxe.domain.workflow import Condition, StepDefinition, WorkflowDefinition

GO, CANCEL, SKIP = 1, 2, 3
GOOD = (Outcome.COMPLETED, Outcome.SKIPPED)


@st.composite
def definitions(draw: st.DrawFn) -> WorkflowDefinition:
    """Small graphs with every mixture of conditions."""
    size = draw(st.integers(1, 6))
    steps = []
    for at in range(size):
        names = [f"s{number}" for number in range(at)]
        parents = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        conditions = []
        for item in range(draw(st.integers(0, 4))):
            kinds = ["sleep", "event", *(["parent"] if names else [])]
            kind = draw(st.sampled_from(kinds))
            conditions.append(
                Condition(
                    kind=kind,
                    data_key=f"k{item}",
                    action=draw(st.sampled_from([0, GO, CANCEL, SKIP])),
                    or_group=draw(st.sampled_from(["", "g", "h"])),
                    expression=draw(st.sampled_from(["", "x"])),
                    parent=draw(st.sampled_from(names)) if kind == "parent" else "",
                    sleep_for="1s" if kind == "sleep" else "",
                    event_key="e" if kind == "event" else "",
                )
            )
        steps.append(
            StepDefinition(
                UUID(int=at + 1), f"s{at}", f"w:s{at}", parents=tuple(parents), conditions=tuple(conditions)
            )
        )
    failing = StepDefinition(UUID(int=99), "failing", "w:failing") if draw(st.booleans()) else None
    return WorkflowDefinition("w", tuple(steps), on_failure=failing)


@dataclass
class Model:
    """Everything that happened, and nothing worked out."""

    definition: WorkflowDefinition
    truths: set[tuple[str, int]]
    """Tests with an expression that hold, for outputs and for skipped parents alike."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    decided: dict[str, Choice] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    came: set[tuple[str, int]] = field(default_factory=set)
    ends: list[tuple[str, Outcome]] = field(default_factory=list)
    """Ends that are not seen yet: each is seen by all steps before the next one is."""

    def settle(self) -> None:
        """Decide until nothing more is due."""
        while True:
            for step in self.definition.steps:
                if step.name not in self.decided:
                    self._look(step)
            self._look_at_on_failure()
            if not self.ends:
                return
            name, outcome = self.ends.pop(0)
            self.outcomes[name] = outcome

    def end(self, name: str, outcome: Outcome) -> None:
        self.ends.append((name, outcome))

    def _take(self, name: str, choice: Choice) -> bool:
        self.decided[name] = choice
        self.waiting.discard(name)
        if choice is Choice.SKIP:
            self.ends.append((name, Outcome.SKIPPED))
        elif choice is Choice.CANCEL:
            self.ends.append((name, Outcome.CANCELLED))
        return True

    def _look_at_on_failure(self) -> bool:
        step = self.definition.on_failure
        if step is None or step.name in self.decided:
            return False
        ends = [self.outcomes.get(one.name) for one in self.definition.steps]
        if None in ends:
            return False
        return self._take(step.name, Choice.GO if Outcome.FAILED in ends else Choice.SKIP)

    def _groups(self, step: StepDefinition, action: int, kinds: tuple[str, ...]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for item, condition in enumerate(step.conditions):
            if (condition.action or GO) == action and condition.kind in kinds:
                groups.setdefault(condition.or_group or f"own {item}", []).append(item)
        return groups

    def _holds(self, step: StepDefinition, item: int) -> bool:
        condition = step.conditions[item]
        if condition.kind != "parent":
            return (step.name, item) in self.came
        if self.outcomes.get(condition.parent) not in (Outcome.COMPLETED, Outcome.SKIPPED):
            return False
        return not condition.expression or (step.name, item) in self.truths

    def _due(self, step: StepDefinition, groups: dict[str, list[int]]) -> bool:
        return all(any(self._holds(step, item) for item in items) for items in groups.values())

    def _look(self, step: StepDefinition) -> bool:
        parents = parents_of(step)
        ends = [self.outcomes.get(parent) for parent in parents]
        if step.name not in self.waiting:
            skips = self._groups(step, SKIP, ("parent",))
            cancels = self._groups(step, CANCEL, ("parent",))
            if (skips and self._due(step, skips)) or (
                not skips and parents and all(end is Outcome.SKIPPED for end in ends)
            ):
                return self._take(step.name, Choice.SKIP)
            bad = any(end in (Outcome.FAILED, Outcome.CANCELLED) for end in ends)
            if bad or (cancels and self._due(step, cancels)):
                return self._take(step.name, Choice.CANCEL)
            if None in ends:
                return False
            late = self._groups(step, GO, ("sleep", "event"))
            early = {k: v for k, v in self._groups(step, GO, ("parent",)).items() if k not in late}
            if not self._due(step, early):
                return self._take(step.name, Choice.CANCEL)
            self.waiting.add(step.name)
        go = self._groups(step, GO, ("sleep", "event"))
        for name, items in self._groups(step, GO, ("parent",)).items():
            if name in go:
                go[name] += items
        skips = self._groups(step, SKIP, ("sleep", "event"))
        cancels = self._groups(step, CANCEL, ("sleep", "event"))
        if skips and self._due(step, skips):
            return self._take(step.name, Choice.SKIP)
        if cancels and self._due(step, cancels):
            return self._take(step.name, Choice.CANCEL)
        if self._due(step, go):
            return self._take(step.name, Choice.GO)
        return False


class Real:
    """The evaluation under test, with the same events."""

    def __init__(self, definition: WorkflowDefinition, truths: set[tuple[str, int]]) -> None:
        self.graph = Graph(definition)
        self.truths = truths
        self.skipped_met = {rule.index: self._met(rule.index) for rule in self.graph.steps}
        self.progress = Progress(self.graph)
        self.decided: dict[int, Choice] = {}
        self.come: list[tuple[int, int]] = []
        self.forward(lambda view: view.begin())

    def _met(self, step: int) -> frozenset[tuple[int, int]]:
        name = lambda at: self.graph.steps[at].definition.name  # noqa: E731
        tests = self.graph.tests_of(step)
        return frozenset((at, test.item) for at, test in tests if (name(at), test.item) in self.truths)

    def forward(self, change: object) -> View:
        view = View(self.progress, self.skipped_met)
        assert callable(change)
        change(view)
        before = [(node.phase, node.open) for node in self.progress.nodes]
        assert before == [(node.phase, node.open) for node in self.progress.nodes]
        view.merge()
        for one in view.decided:
            assert one.step not in self.decided, "a step was decided twice"
            self.decided[one.step] = one.choice
        return view

    def end(self, step: int, outcome: Outcome) -> None:
        met = self._met(step) if outcome in (Outcome.COMPLETED, Outcome.SKIPPED) else frozenset()
        self.forward(lambda view: view.end(step, outcome, met))

    def meet(self, step: int, item: int) -> None:
        self.come.append((step, item))
        self.forward(lambda view: view.meet(step, item))

    def by_name(self) -> dict[str, Choice]:
        return {self.graph.steps[at].definition.name: choice for at, choice in self.decided.items()}


@settings(max_examples=400, deadline=None)
@given(definitions(), st.data())
def test_incremental_evaluation_is_that_of_the_model(
    definition: WorkflowDefinition, data: st.DataObject
) -> None:
    assert find_cycle({step.name: parents_of(step) for step in definition.steps}) is None
    tests = [
        (step.name, item)
        for step in definition.steps
        for item, condition in enumerate(step.conditions)
        if condition.kind == "parent"
    ]
    truths = {test for test in tests if data.draw(st.booleans())}
    model = Model(definition, truths)
    model.settle()
    real = Real(definition, truths)
    names = [rule.definition.name for rule in real.graph.steps]
    for _ in range(40):
        assert real.by_name() == model.decided
        running = [
            n for n, choice in model.decided.items() if choice is Choice.GO and n not in model.outcomes
        ]
        waits = [
            (step.name, item)
            for step in definition.steps
            if step.name in model.waiting
            for item, condition in enumerate(step.conditions)
            if condition.kind != "parent" and (step.name, item) not in model.came
        ]
        if not running and not waits:
            break
        what = data.draw(st.sampled_from([*running, *waits]))
        if isinstance(what, str):
            outcome = data.draw(st.sampled_from(list(Outcome)))
            model.end(what, outcome)
            model.settle()
            real.end(names.index(what), outcome)
        else:
            model.came.add(what)
            model.settle()
            real.meet(names.index(what[0]), what[1])
    _same_from_rows(real)
    over = len(model.outcomes) == len(names)
    assert real.progress.finished() is over


def _same_from_rows(real: Real) -> None:
    """Whoever reads the rows comes to the same state."""
    ended = [
        (
            at,
            node.outcome,
            real._met(at) if node.outcome in (Outcome.COMPLETED, Outcome.SKIPPED) else frozenset(),
        )
        for at, node in enumerate(real.progress.nodes)
        if node.outcome is not None
    ]
    view = resume(real.graph, list(real.decided), ended, real.skipped_met)
    waiting = {at for at, node in enumerate(real.progress.nodes) if node.phase is Phase.WAITING}
    assert set(view.opened) == waiting
    for step, item in real.come:
        if step in waiting:
            view.meet(step, item)
    assert view.decided == []
    view.merge()
    assert [node.phase for node in view.progress.nodes] == [node.phase for node in real.progress.nodes]
    assert view.progress.left == real.progress.left


def test_cost_of_an_end_is_that_of_its_children() -> None:
    """A thousand steps, two hundred wide: an end touches only the steps behind it."""
    steps = [
        StepDefinition(
            UUID(int=at + 1),
            f"s{at}",
            f"w:s{at}",
            parents=(f"s{at - 200}",) if at >= 200 else (),
        )
        for at in range(1_000)
    ]
    real = Real(WorkflowDefinition("w", tuple(steps)), set())
    for at in range(1_000):
        view = View(real.progress, {})
        view.end(at, Outcome.COMPLETED)
        assert len(view._changed) <= 2
        view.merge()
    assert real.progress.finished()
