"""Asks the expressions of conditions. One that fails, or yields no truth, does not hold."""

import logging

from broadaxe.domain.dag_graph import NOTHING_MET, Met, ParentTest
from broadaxe.domain.run import SKIPPED_OUTPUT
from broadaxe.engine.runs.dag_plan import DagPlan
from broadaxe.expr.evaluator import Evaluator
from broadaxe.expr.failures import ExpressionFailed

_LOG = logging.getLogger(__name__)
_NO_OUTPUT = b"{}"


class Conditions:
    """Evaluates before anything is written, so that decisions get plain truths."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def prepare(self, dag: DagPlan) -> None:
        """Work out what holds of skipped parents, once for each version."""
        if dag.skipped_met is None:
            found: dict[int, Met] = {}
            for rule in dag.graph.steps:
                met = await self._met(dag.graph.tests_of(rule.index), SKIPPED_OUTPUT)
                if met:
                    found[rule.index] = met
            dag.skipped_met = found

    async def met_by(self, dag: DagPlan, step: int, output: bytes | None) -> Met:
        """The tests on a step's output that hold."""
        tests = dag.graph.tests_of(step)
        return await self._met(tests, output or _NO_OUTPUT) if tests else NOTHING_MET

    async def holds(self, expression: str, payload: bytes) -> bool:
        """Whether an event's payload meets a condition. No expression is met by any."""
        return not expression or await self._true(expression, "input", payload)

    async def _met(self, tests: list[tuple[int, ParentTest]], output: bytes) -> Met:
        known: dict[str, bool] = {}
        for _, test in tests:
            if test.expression not in known:
                known[test.expression] = await self._true(test.expression, "output", output)
        return frozenset((step, test.item) for step, test in tests if known[test.expression])

    async def _true(self, expression: str, name: str, value: bytes) -> bool:
        try:
            return await self._evaluator.boolean(expression, {name: value})
        except ExpressionFailed as error:
            _LOG.debug("a condition does not hold: %s", error.message)
            return False
