"""A version of a workflow of several steps with what the engine works out of it once."""

from collections.abc import Sequence
from uuid import UUID

from broadaxe.domain.dag_graph import Graph, Met
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.engine.scheduler.live import StepPlan


class DagPlan:
    """The graph, and the plan of each step in the graph's order."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.graph = Graph(definition)
        self.steps: tuple[StepPlan, ...] = ()
        self.skipped_met: dict[int, Met] | None = None
        """Tests that hold of a skipped parent, by parent; None until they are worked out."""
        self._positions = {rule.definition.id: rule.index for rule in self.graph.steps}

    def position(self, step_id: UUID) -> int | None:
        """Where a step stands in the graph."""
        return self._positions.get(step_id)

    def before(self, step: int) -> Sequence[int]:
        """The steps that a step comes after: its parents; the on-failure step comes after all others."""
        graph = self.graph
        return range(graph.regular) if step == graph.on_failure else graph.steps[step].parents

    def name(self, step: int) -> str:
        """What a step is called."""
        return self.graph.steps[step].definition.name
