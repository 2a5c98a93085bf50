"""What follows from the definition of a workflow of several steps, worked out once for each version."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from broadaxe.domain.workflow import Condition, StepDefinition, WorkflowDefinition

GO, CANCEL, SKIP = 1, 2, 3
"""Actions of conditions; the wire's CREATE (0) means GO too."""

Met = frozenset[tuple[int, int]]
"""Conditions that hold: position of the step, position of the condition in it."""

NOTHING_MET: Met = frozenset()


@dataclass(frozen=True, slots=True)
class ParentTest:
    """A condition on the output of a parent. Without an expression it holds for any."""

    item: int
    action: int
    group: int
    """Its OR-group, as one bit among the step's groups of that action."""
    expression: str


@dataclass(frozen=True, slots=True)
class Edge:
    """From a step to one that waits for it."""

    child: int
    tests: tuple[ParentTest, ...]


@dataclass(frozen=True, slots=True)
class WaitRule:
    """A sleep or a user event that a step waits for."""

    item: int
    action: int
    group: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class Groups:
    """OR-groups as bits: of the tests on parents, and of the waits."""

    tests: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class StepRule:
    """What decides about one step."""

    index: int
    definition: StepDefinition
    parents: tuple[int, ...]
    edges: tuple[Edge, ...]
    waits: tuple[WaitRule, ...]
    go: Groups
    cancel: Groups
    skip: Groups
    skip_with_parents: bool
    """Whether it is skipped when all its parents were: unless it tests parents for skipping itself."""


class Graph:
    """The steps of a version, the on-failure step last."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.definition = definition
        steps = list(definition.steps)
        self.on_failure = len(steps) if definition.on_failure is not None else None
        if definition.on_failure is not None:
            steps.append(definition.on_failure)
        self.index = {step.name: at for at, step in enumerate(steps)}
        edges: list[list[Edge]] = [[] for _ in steps]
        drafts = [self._draft(at, step, edges) for at, step in enumerate(steps)]
        self.steps = tuple(draft(tuple(edges[at])) for at, draft in enumerate(drafts))

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def regular(self) -> int:
        """Steps without the one for failures."""
        return len(self.steps) if self.on_failure is None else len(self.steps) - 1

    def tests_of(self, step: int) -> list[tuple[int, ParentTest]]:
        """The tests with an expression on a step's output, each with the step that has it."""
        return [
            (edge.child, test) for edge in self.steps[step].edges for test in edge.tests if test.expression
        ]

    def _draft(
        self, at: int, step: StepDefinition, edges: list[list[Edge]]
    ) -> Callable[[tuple[Edge, ...]], StepRule]:
        groups: dict[int, dict[str, int]] = {GO: {}, CANCEL: {}, SKIP: {}}
        with_tests = {GO: 0, CANCEL: 0, SKIP: 0}
        with_waits = {GO: 0, CANCEL: 0, SKIP: 0}
        tests: dict[int, list[ParentTest]] = {self.index[name]: [] for name in parents_of(step)}
        waits: list[WaitRule] = []
        for item, condition in enumerate(step.conditions):
            action = condition.action or GO
            # A condition without a group is a group of its own.
            name = condition.or_group or f"\x00{item}"
            group = groups[action].setdefault(name, 1 << len(groups[action]))
            if condition.kind == "parent":
                with_tests[action] |= group
                test = ParentTest(item, action, group, condition.expression)
                tests[self.index[condition.parent]].append(test)
            else:
                with_waits[action] |= group
                waits.append(WaitRule(item, action, group, condition))
        for parent, some in tests.items():
            edges[parent].append(Edge(at, tuple(some)))
        # A group for going that also has a sleep or an event may still be met by that one.
        go = Groups(with_tests[GO] & ~with_waits[GO], with_waits[GO])
        return lambda own: StepRule(
            index=at,
            definition=step,
            parents=tuple(tests),
            edges=own,
            waits=tuple(waits),
            go=go,
            cancel=Groups(with_tests[CANCEL], with_waits[CANCEL]),
            skip=Groups(with_tests[SKIP], with_waits[SKIP]),
            skip_with_parents=bool(tests) and not with_tests[SKIP],
        )


def parents_of(step: StepDefinition) -> tuple[str, ...]:
    """Whom a step waits for: its parents, and whomever its conditions are about."""
    tested = (condition.parent for condition in step.conditions if condition.kind == "parent")
    return tuple(dict.fromkeys((*step.parents, *tested)))


def waits_in(definition: WorkflowDefinition) -> int:
    """How many sleeps and events runs of this workflow can wait for at once, at most."""
    steps = [*definition.steps, *([definition.on_failure] if definition.on_failure else [])]
    return sum(1 for step in steps for condition in step.conditions if condition.kind != "parent")
