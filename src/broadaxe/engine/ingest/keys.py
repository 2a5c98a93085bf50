"""Idempotency keys of runs that are about to start."""

from dataclasses import replace

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.idempotency import claim, key_problem
from broadaxe.engine.api import Trigger
from broadaxe.engine.context import EngineContext
from broadaxe.engine.scheduler.live import StepPlan
from broadaxe.expr.evaluator import Evaluator
from broadaxe.expr.failures import ExpressionFailed


class Keys:
    """Works keys out of triggers."""

    def __init__(self, context: EngineContext, evaluator: Evaluator) -> None:
        self._clock = context.clock
        self._limit = context.options.key_limit
        self._evaluator = evaluator

    async def add(self, trigger: Trigger, plan: StepPlan) -> Trigger:
        """The trigger with its key. InvalidArgument when the expression fails or yields what is no key."""
        rule = plan.version.definition.idempotency
        if rule is None:
            return trigger
        metadata = trigger.metadata or b"{}"
        try:
            key = await self._evaluator.text(
                rule.expression, {"input": trigger.input, "additional_metadata": metadata}
            )
        except ExpressionFailed as error:
            raise InvalidArgument(f"idempotency.expression: {error.message}") from error
        problem = key_problem(key, self._limit)
        if problem is not None:
            raise InvalidArgument(f"idempotency.expression: {problem}")
        return replace(trigger, key=claim(rule, key, self._clock.now()))
