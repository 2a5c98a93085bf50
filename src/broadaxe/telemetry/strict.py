"""The contract check: a span that refuses what the contract does not declare. For tests only."""

from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.encode import Pair
from broadaxe.telemetry.names import ATTR_ERROR_TYPE, ATTRS, EVENTS, SPANS, TEMPLATES
from broadaxe.telemetry.span import Span
from broadaxe.telemetry.vocabulary import Attr, AttrValue, EventName, SpanName


class ContractViolationError(AssertionError):
    """Something undeclared was emitted."""


_TEMPLATED = frozenset(template.attributes for template in TEMPLATES)


def check_name(name: SpanName) -> None:
    """Refuses a span that neither the list nor a template of the contract declares."""
    if name not in SPANS and name.attributes not in _TEMPLATED:
        raise ContractViolationError(f"span {name.name} is not declared")


def check_pair(owner: str, allowed: frozenset[Attr], attr: Attr, value: AttrValue) -> None:
    """Refuses an attribute that this span or event may not carry, and a value of another type."""
    if attr not in ATTRS or attr not in allowed:
        raise ContractViolationError(f"{owner} may not carry {attr.name}")
    if value.__class__ is not attr.type and not (attr.type is str and isinstance(value, str)):
        raise ContractViolationError(f"{owner}: {attr.name} is {attr.type.__name__}, got {value!r}")


def check_link(owner: str, allowed: frozenset[Attr], context: TraceContext, pairs: tuple[Pair, ...]) -> None:
    """Refuses a link that points to a trace but to no span or carries what is not declared."""
    if not isinstance(context, TraceContext) or (any(context.trace_id) and not any(context.span_id)):
        raise ContractViolationError(f"{owner} links to nothing")
    for attr, value in pairs:
        check_pair(owner, allowed, attr, value)


class StrictSpan(Span):
    """A recorded span that raises `ContractViolationError` on anything undeclared."""

    __slots__ = ()

    def set(self, attr: Attr, value: AttrValue) -> None:
        check_pair(self.name.name, self.name.attributes, attr, value)
        super().set(attr, value)

    def link(self, context: TraceContext, *pairs: Pair) -> None:
        check_link(self.name.name, self.name.attributes, context, pairs)
        super().link(context, *pairs)

    def event(self, name: EventName, *pairs: Pair) -> None:
        if name not in EVENTS:
            raise ContractViolationError(f"event {name.name} is not declared")
        for attr, value in pairs:
            check_pair(name.name, name.attributes, attr, value)
        super().event(name, *pairs)

    def end(
        self, end_ns: int | None = None, error_type: str | None = None, message: str | None = None
    ) -> None:
        if message is not None and error_type is None:
            raise ContractViolationError(f"{self.name.name} has a message without {ATTR_ERROR_TYPE.name}")
        if self._sink is None:
            raise ContractViolationError(f"{self.name.name} ended twice")
        super().end(end_ns, error_type, message)
