"""Evaluating with a bound on time: short work in place, the rest in a process that is killed when late."""

from broadaxe.expr.apart import ApartProcess
from broadaxe.expr.compiled import Cel
from broadaxe.expr.cost import is_short
from broadaxe.expr.failures import ExpressionFailed
from broadaxe.expr.variables import Variables, size_of


class Evaluator:
    """Evaluates. One for a process; `close` ends the helper process if there is one."""

    def __init__(self, cel: Cel | None = None) -> None:
        self.cel = cel or Cel()
        self._apart = ApartProcess(self.cel.limits)

    async def value(self, text: str, variables: Variables) -> object:
        """The value: None, bool, int, float, str, or of such, list and dict. ExpressionFailed."""
        size = size_of(variables)
        if size <= self.cel.limits.inline_bytes and is_short(text, size + len(text)):
            return self.cel.evaluate(text, variables)
        return await self._apart.evaluate(text, variables)

    async def boolean(self, text: str, variables: Variables) -> bool:
        """True or false. ExpressionFailed, also when it yields something else."""
        value = await self.value(text, variables)
        if not isinstance(value, bool):
            raise ExpressionFailed(f"must yield true or false, not {_name(value)}")
        return value

    async def text(self, text: str, variables: Variables) -> str:
        """A text. ExpressionFailed, also when it yields something else."""
        value = await self.value(text, variables)
        if not isinstance(value, str):
            raise ExpressionFailed(f"must yield a text, not {_name(value)}")
        return value

    async def close(self) -> None:
        """End the helper process."""
        await self._apart.close()


def _name(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", type(None): "null"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")
