"""Compiling and evaluating on the spot."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel

from broadaxe.domain.registration_checks import ExpressionKind
from broadaxe.expr.environment import RESULTS, VARIABLES, environment
from broadaxe.expr.failures import ExpressionFailed, readable
from broadaxe.expr.variables import Variables, decode


@dataclass(frozen=True, slots=True)
class ExpressionLimits:
    """How much an expression may take. Sizes are bytes, times seconds."""

    expression_bytes: int = 16_384
    cached: int = 4_096
    """Compiled expressions that are kept."""
    inline_bytes: int = 65_536
    """Inputs up to this size are evaluated in place, larger ones in a process of their own."""
    seconds: float = 0.1
    """CPU time of one evaluation in that process, which is then killed."""
    waiting: int = 1_000
    """Evaluations that may wait for that process."""


class Cel:
    """Compiles expressions once. The library itself refuses what is nested deeper than 32 levels."""

    def __init__(self, limits: ExpressionLimits | None = None) -> None:
        self.limits = limits or ExpressionLimits()
        self._programs: OrderedDict[str, cel.Expression | str] = OrderedDict()

    def compile_problem(self, kind: str, text: str) -> str | None:
        """Why an expression cannot be registered as this kind, None when it can."""
        problem = self._size_problem(text)
        if problem is not None:
            return problem
        try:
            wanted = ExpressionKind(kind)
        except ValueError:
            return f"there is no kind of expression called {kind}"
        try:
            program = environment(VARIABLES[wanted]).compile(text)
        except (RuntimeError, ValueError) as error:
            return readable(str(error))
        types, meaning = RESULTS[wanted]
        found = program.return_type().name()
        return None if found in (*types, "DYN") else f"must yield {meaning}, not {found.lower()}"

    def evaluate(self, text: str, variables: Variables) -> object:
        """The value. ExpressionFailed with a text for people. Takes as long as it takes: see `Evaluator`."""
        program = self._program(text)
        data = decode(variables)
        try:
            result = program.eval(data=data)
            value: Any = result.plain_value()
        except (RuntimeError, ValueError, TypeError, RecursionError) as error:
            raise ExpressionFailed(readable(str(error))) from error
        if result.type().name() in ("ERROR", "UNKNOWN"):
            raise ExpressionFailed(readable(str(value)))
        return value

    def _program(self, text: str) -> cel.Expression:
        known = self._programs.get(text)
        if known is None:
            known = self._size_problem(text)
            if known is None:
                try:
                    known = environment().compile(text)
                except (RuntimeError, ValueError) as error:
                    known = readable(str(error))
                self._programs[text] = known
                if len(self._programs) > self.limits.cached:
                    self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(text)
        if isinstance(known, str):
            raise ExpressionFailed(known)
        return known

    def _size_problem(self, text: str) -> str | None:
        if len(text.encode("utf-8", "replace")) > self.limits.expression_bytes:
            return f"longer than {self.limits.expression_bytes} bytes"
        return "must not contain U+0000" if "\x00" in text else None
