"""The rules a registered definition has to keep, each as a small check that reports `field: text`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from broadaxe.domain.cron_syntax import cron_problem
from broadaxe.domain.dag_graph import parents_of, waits_in
from broadaxe.domain.durations import InvalidDuration, parse_duration
from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.labels import label_problem
from broadaxe.domain.naming import name_valid, normalise_action
from broadaxe.domain.payloads import object_problem
from broadaxe.domain.step_graph import find_cycle
from broadaxe.domain.workflow import (
    BatchConfig,
    Concurrency,
    Condition,
    RateLimitUse,
    StepDefinition,
    WorkflowDefinition,
)

CheckExpression = Callable[[str, str], str | None]
"""(kind, text) to why the expression does not compile, or None."""

_NAME_RULE = "may only hold letters, digits, dots, dashes and underscores"
_STRATEGIES = (0, 3, 4, 5, 6)
_DEPRECATED_STRATEGIES = (1, 2)
_CONDITION_KINDS = ("parent", "sleep", "event")
_DAY_MS = 86_400_000


class ExpressionKind(StrEnum):
    """What an expression is for: decides its variables and the type it must yield."""

    CONCURRENCY = "concurrency"
    """A key: text."""
    CONCURRENCY_LIMIT = "concurrency_limit"
    """A number of runs."""
    RATE_LIMIT_KEY = "rate_limit_key"
    RATE_LIMIT_UNITS = "rate_limit_units"
    RATE_LIMIT_VALUE = "rate_limit_value"
    BATCH_GROUP = "batch_group"
    IDEMPOTENCY = "idempotency"
    PARENT_CONDITION = "parent_condition"
    """True or false over `output`."""
    EVENT_CONDITION = "event_condition"
    """True or false over `input`."""
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a definition may be. Counts, except `name_length` and `text_length` in characters."""

    steps: int = 1_000
    waits: int = 1_000
    """Sleeps and user events that the steps of one workflow wait for, all together."""
    parents: int = 1_000
    triggers: int = 1_000
    """Event keys, and cron expressions, each."""
    filters: int = 1_000
    entries: int = 100
    """Labels, rate limits, concurrency entries, conditions and slot types, each of a step."""
    retries: int = 100_000
    name_length: int = 255
    text_length: int = 65_536
    """Expressions, descriptions, keys."""
    document_bytes: int = 1_048_576
    """Input schema, cron input, filter payload: each in bytes."""


def find_problems(
    definition: WorkflowDefinition, limits: Limits, check_expression: CheckExpression | None = None
) -> list[str]:
    """Everything wrong with a completed definition, in the order of its fields; empty if it is right."""
    return list(_Checks(limits, check_expression).workflow(definition))


class _Checks:
    """The checks of one registration: they share its limits and its compiler."""

    def __init__(self, limits: Limits, check_expression: CheckExpression | None) -> None:
        self._limits = limits
        self._compile = check_expression

    def workflow(self, w: WorkflowDefinition) -> Iterator[str]:
        limits = self._limits
        yield from self._name("name", w.name)
        yield from self._text("description", w.description)
        yield from self._text("version", w.version)
        yield from self._triggers(w)
        if not w.steps:
            yield "tasks: a workflow needs at least one task"
        yield from _count("tasks", len(w.steps), limits.steps)
        if len(w.steps) <= limits.steps:
            for index, step in enumerate(w.steps):
                yield from self._step(f"tasks[{index}]", step)
            yield from _graph(w)
        if w.on_failure is not None:
            yield from self._step("on_failure_task", w.on_failure)
            if w.on_failure.parents:
                yield "on_failure_task.parents: the on-failure task has no parents"
            if w.on_failure.conditions:
                yield "on_failure_task.conditions: the on-failure task has no conditions"
        waits = waits_in(w)
        if waits > limits.waits:
            yield f"tasks: {waits} sleeps and user events in conditions, at most {limits.waits} are allowed"
        if w.sticky not in (None, 0, 1):
            yield f"sticky: must be SOFT (0) or HARD (1), not {w.sticky}"
        if w.default_priority is not None and not 1 <= w.default_priority <= 3:
            yield f"default_priority: must be 1, 2 or 3, not {w.default_priority}"
        yield from self._concurrency("concurrency", w.concurrency)
        if w.input_schema:
            yield from self._document("input_json_schema", w.input_schema)
        yield from self._idempotency(w)

    def _triggers(self, w: WorkflowDefinition) -> Iterator[str]:
        limits = self._limits
        yield from _count("event_triggers", len(w.event_triggers), limits.triggers)
        for index, key in enumerate(w.event_triggers[: limits.triggers]):
            if not key:
                yield f"event_triggers[{index}]: must not be empty"
            yield from self._text(f"event_triggers[{index}]", key)
        yield from _count("cron_triggers", len(w.cron_triggers), limits.triggers)
        for index, expression in enumerate(w.cron_triggers[: limits.triggers]):
            problem = cron_problem(expression)
            if problem is not None:
                yield f"cron_triggers[{index}]: {problem}"
        if w.cron_input:
            yield from self._document("cron_input", w.cron_input.encode())
        yield from _count("default_filters", len(w.default_filters), limits.filters)
        for index, entry in enumerate(w.default_filters[: limits.filters]):
            field = f"default_filters[{index}]"
            yield from self._expression(f"{field}.expression", ExpressionKind.FILTER, entry.expression)
            if not entry.scope:
                yield f"{field}.scope: must not be empty"
            yield from self._text(f"{field}.scope", entry.scope)
            if entry.payload:
                yield from self._document(f"{field}.payload", entry.payload)

    def _idempotency(self, w: WorkflowDefinition) -> Iterator[str]:
        if w.idempotency is None:
            return
        expression = w.idempotency.expression
        yield from self._expression("idempotency.expression", ExpressionKind.IDEMPOTENCY, expression)
        if w.idempotency.ttl_ms < 1:
            yield f"idempotency.ttl_ms: must be at least 1, not {w.idempotency.ttl_ms}"
        if w.idempotency.method not in (None, 0, 1):
            yield f"idempotency.method: must be TTL (0) or STATUS (1), not {w.idempotency.method}"

    def _step(self, field: str, step: StepDefinition) -> Iterator[str]:
        limits = self._limits
        yield from self._name(f"{field}.readable_id", step.name)
        yield from self._text(f"{field}.action", step.action)
        try:
            normalise_action(step.action)
        except InvalidArgument as error:
            yield f"{field}.action: {error.message}"
        yield from _times(field, step)
        if not 0 <= step.retries <= limits.retries:
            yield f"{field}.retries: must be between 0 and {limits.retries}, not {step.retries}"
        yield from _backoff(field, step)
        yield from _count(f"{field}.slot_requests", len(step.slots), limits.entries)
        for kind, units in step.slots.items():
            yield from self._name(f"{field}.slot_requests", kind)
            if not 0 < units <= 2**31 - 1:
                yield f'{field}.slot_requests: "{kind}" must ask for at least one unit, not {units}'
        yield from _count(f"{field}.worker_labels", len(step.labels), limits.entries)
        for label in step.labels:
            problem = label_problem(label)
            if problem is not None:
                yield f"{field}.worker_labels: {problem}"
        yield from _count(f"{field}.rate_limits", len(step.rate_limits), limits.entries)
        for index, use in enumerate(step.rate_limits[: limits.entries]):
            yield from self._rate_limit(f"{field}.rate_limits[{index}]", use)
        yield from self._concurrency(f"{field}.concurrency", step.concurrency)
        yield from _count(f"{field}.conditions", len(step.conditions), limits.entries)
        for index, condition in enumerate(step.conditions[: limits.entries]):
            yield from self._condition(f"{field}.conditions[{index}]", condition)
        if step.batch is not None:
            yield from self._batch(f"{field}.batch", step.batch)
        if step.inputs:
            yield from self._document(f"{field}.inputs", step.inputs.encode())

    def _rate_limit(self, field: str, use: RateLimitUse) -> Iterator[str]:
        if not use.key and not use.key_expression:
            yield f"{field}.key: a key or an expression for it is needed"
        yield from self._text(f"{field}.key", use.key)
        if use.units is not None and use.units < 0:
            yield f"{field}.units: must not be negative"
        if use.window is not None and not 0 <= use.window <= 6:
            yield f"{field}.duration: must be SECOND (0) to YEAR (6), not {use.window}"
        for name, kind, expression in (
            ("key_expr", ExpressionKind.RATE_LIMIT_KEY, use.key_expression),
            ("units_expr", ExpressionKind.RATE_LIMIT_UNITS, use.units_expression),
            ("limit_values_expr", ExpressionKind.RATE_LIMIT_VALUE, use.limit_expression),
        ):
            if expression is not None:
                yield from self._expression(f"{field}.{name}", kind, expression)

    def _concurrency(self, field: str, entries: tuple[Concurrency, ...]) -> Iterator[str]:
        yield from _count(field, len(entries), self._limits.entries)
        for index, entry in enumerate(entries[: self._limits.entries]):
            at = f"{field}[{index}]"
            yield from self._expression(f"{at}.expression", ExpressionKind.CONCURRENCY, entry.expression)
            if entry.max_runs is not None and entry.max_runs < 1:
                yield f"{at}.max_runs: must be at least 1, not {entry.max_runs}"
            if entry.strategy in _DEPRECATED_STRATEGIES:
                yield f"{at}.limit_strategy: DROP_NEWEST and QUEUE_NEWEST are deprecated and not supported"
            elif entry.strategy is not None and entry.strategy not in _STRATEGIES:
                yield f"{at}.limit_strategy: {entry.strategy} is unknown"
            if entry.tenant_scoped and not (entry.name or "").strip():
                yield f"{at}.name: a tenant-scoped strategy needs a name"
            yield from self._text(f"{at}.name", entry.name or "")
            if entry.max_runs_expression is not None:
                kind = ExpressionKind.CONCURRENCY_LIMIT
                yield from self._expression(f"{at}.max_runs_expression", kind, entry.max_runs_expression)

    def _condition(self, field: str, condition: Condition) -> Iterator[str]:
        if condition.kind not in _CONDITION_KINDS:
            yield f'{field}: unknown kind "{condition.kind}"'
        if not 0 <= condition.action <= 3:
            yield f"{field}.action: {condition.action} is unknown"
        yield from self._text(f"{field}.readable_data_key", condition.data_key)
        if condition.kind == "sleep":
            yield from _sleep(field, condition.sleep_for)
        if condition.kind == "event" and not condition.event_key:
            yield f"{field}.user_event_key: must not be empty"
        if condition.expression:
            parent = condition.kind == "parent"
            kind = ExpressionKind.PARENT_CONDITION if parent else ExpressionKind.EVENT_CONDITION
            yield from self._expression(f"{field}.expression", kind, condition.expression)

    def _batch(self, field: str, batch: BatchConfig) -> Iterator[str]:
        for name, value, high in (
            ("batch_max_size", batch.max_size, 100_000),
            ("batch_max_interval_ms", batch.max_interval_ms, _DAY_MS),
            ("batch_group_max_runs", batch.group_max_runs, 10_000),
        ):
            if value is not None and not 1 <= value <= high:
                yield f"{field}.{name}: must be between 1 and {high}, not {value}"
        if batch.group_key is not None:
            yield from self._expression(
                f"{field}.batch_group_key", ExpressionKind.BATCH_GROUP, batch.group_key
            )

    def _name(self, field: str, name: str) -> Iterator[str]:
        if not name:
            yield f"{field}: must not be empty"
        elif len(name) > self._limits.name_length:
            yield f"{field}: longer than {self._limits.name_length} characters"
        elif not name_valid(name):
            yield f'{field}: "{name}" {_NAME_RULE}'

    def _text(self, field: str, text: str) -> Iterator[str]:
        if len(text) > self._limits.text_length:
            yield f"{field}: longer than {self._limits.text_length} characters"
        if "\x00" in text:
            yield f"{field}: must not contain U+0000"

    def _document(self, field: str, data: bytes) -> Iterator[str]:
        if len(data) > self._limits.document_bytes:
            yield f"{field}: larger than {self._limits.document_bytes} bytes"
            return
        problem = object_problem(data)
        if problem is not None:
            yield f"{field}: {problem}"

    def _expression(self, field: str, kind: ExpressionKind, text: str) -> Iterator[str]:
        if not text.strip():
            yield f"{field}: must not be empty"
            return
        if len(text) > self._limits.text_length:
            yield f"{field}: longer than {self._limits.text_length} characters"
            return
        problem = self._compile(kind, text) if self._compile else None
        if problem is not None:
            yield f"{field}: {problem}"


def _count(field: str, count: int, limit: int) -> Iterator[str]:
    if count > limit:
        yield f"{field}: {count} entries, at most {limit} are allowed"


def _times(field: str, step: StepDefinition) -> Iterator[str]:
    for name, seconds in (("timeout", step.timeout), ("schedule_timeout", step.schedule_timeout)):
        if not (math.isfinite(seconds) and seconds > 0):
            yield f"{field}.{name}: must be longer than 0s"


def _backoff(field: str, step: StepDefinition) -> Iterator[str]:
    if step.backoff_factor is None:
        return
    if not 1 <= step.backoff_factor <= 1_000:
        yield f"{field}.backoff_factor: must be between 1 and 1000, not {step.backoff_factor:g}"
    if not 1 <= step.backoff_max <= 86_400:
        yield f"{field}.backoff_max_seconds: must be between 1 and 86400, not {step.backoff_max:g}"


def _sleep(field: str, text: str) -> Iterator[str]:
    try:
        if parse_duration(text) < 0:
            yield f'{field}.sleep_for: "{text}" is negative'
    except InvalidDuration as error:
        yield f"{field}.sleep_for: {error.message}"


def _graph(w: WorkflowDefinition) -> Iterator[str]:
    seen: set[str] = set()
    for index, step in enumerate(w.steps):
        if step.name in seen:
            yield f'tasks[{index}].readable_id: "{step.name}" is used twice'
        seen.add(step.name)
    if w.on_failure is not None and w.on_failure.name in seen:
        yield f'on_failure_task.readable_id: "{w.on_failure.name}" is used twice'
    for index, step in enumerate(w.steps):
        for parent in step.parents:
            if parent not in seen:
                yield f'tasks[{index}].parents: there is no task "{parent}"'
        if len(set(step.parents)) != len(step.parents):
            yield f"tasks[{index}].parents: a parent is named twice"
        for condition in step.conditions:
            if condition.kind == "parent" and condition.parent not in seen:
                yield f'tasks[{index}].conditions: there is no task "{condition.parent}"'
    cycle = find_cycle({step.name: parents_of(step) for step in w.steps})
    if cycle is not None:
        yield f"tasks: the parents form a cycle: {' -> '.join(cycle)}"
