"""What a client registers: defaults filled in, and everything wrong with it found at once.

`prepare` takes a definition as it was sent and returns it complete, with a list of problems, each
`field: text` with the wire's field names. Nothing is thrown: the caller answers with the whole list. A
definition without problems is stored under its `checksum`, so that registering the same thing again makes no
new version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.naming import normalise_action, step_id
from broadaxe.domain.registration_checks import CheckExpression, Limits, find_problems
from broadaxe.domain.workflow import BatchConfig, Concurrency, StepDefinition, WorkflowDefinition

BATCH_INTERVAL_MS = 1_000
BATCH_GROUP_KEY = "'default'"
BATCH_GROUP_MAX_RUNS = 100
DEFAULT_MAX_RUNS = 1
CANCEL_IN_PROGRESS = 0
_CHECKSUM_FORMAT = "broadaxe-definition-1\n"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A definition with its defaults, and what is wrong with it: to be stored only if `problems` is empty."""

    definition: WorkflowDefinition
    problems: tuple[str, ...]


def prepare(
    definition: WorkflowDefinition,
    limits: Limits | None = None,
    check_expression: CheckExpression | None = None,
) -> Prepared:
    """Fill in the defaults and look for problems. Preparing twice gives the same as preparing once.

    `check_expression(kind, text)` compiles an expression and answers why it cannot be (None = it can); `kind`
    is an `ExpressionKind`. Steps sent without slots must come with an empty `slots` mapping.
    """
    complete = _complete(definition)
    return Prepared(complete, tuple(find_problems(complete, limits or Limits(), check_expression)))


def checksum(definition: WorkflowDefinition) -> str:
    """A hash (hex) of a prepared definition: equal exactly if the definitions mean the same.

    Fields that hold their default do not count, so a field that a later release adds changes no old checksum.
    Names of OR-groups are random in SDKs: only which conditions share one counts.
    """
    renamed: dict[str, str] = {}
    text = json.dumps(_canonical(definition, renamed), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((_CHECKSUM_FORMAT + text).encode()).hexdigest()


def _complete(definition: WorkflowDefinition) -> WorkflowDefinition:
    steps = tuple(_complete_step(definition.name, step) for step in definition.steps)
    on_failure = definition.on_failure
    if on_failure is not None:
        on_failure = _complete_step(definition.name, on_failure)
    concurrency = _complete_concurrency(definition)
    if len(steps) == 1 and on_failure is None and concurrency:
        # The run is the task: one place for its limits is enough, and the outer ones are entered first.
        steps = (replace(steps[0], concurrency=concurrency + steps[0].concurrency),)
        concurrency = ()
    return replace(definition, steps=steps, on_failure=on_failure, concurrency=concurrency)


def _complete_step(workflow: str, step: StepDefinition) -> StepDefinition:
    try:
        action = normalise_action(step.action)
    except InvalidArgument:
        action = step.action  # reported by find_problems
    return replace(
        step,
        id=step_id(workflow, step.name),
        action=action,
        slots=dict(step.slots) or {"durable" if step.durable else "default": 1},
        concurrency=_complete_concurrency(step),
        batch=_complete_batch(step.batch),
    )


def _complete_concurrency(owner: WorkflowDefinition | StepDefinition) -> tuple[Concurrency, ...]:
    return tuple(
        replace(
            entry,
            max_runs=DEFAULT_MAX_RUNS if entry.max_runs is None else entry.max_runs,
            strategy=CANCEL_IN_PROGRESS if entry.strategy is None else entry.strategy,
        )
        for entry in owner.concurrency
    )


def _complete_batch(batch: BatchConfig | None) -> BatchConfig | None:
    if batch is None:
        return None
    return replace(
        batch,
        max_interval_ms=BATCH_INTERVAL_MS if batch.max_interval_ms is None else batch.max_interval_ms,
        group_key=BATCH_GROUP_KEY if batch.group_key is None else batch.group_key,
        group_max_runs=BATCH_GROUP_MAX_RUNS if batch.group_max_runs is None else batch.group_max_runs,
    )


def _canonical(value: object, groups: dict[str, str]) -> Any:
    """A value as JSON can write it, the same for equal definitions."""
    if is_dataclass(value) and not isinstance(value, type):
        entries = {}
        for field in fields(value):
            item = getattr(value, field.name)
            if field.name == "or_group":
                item = groups.setdefault(item, str(len(groups)))
            elif item == field.default:
                continue
            entries[field.name] = _canonical(item, groups)
        return entries
    if isinstance(value, Mapping):
        return {str(key): _canonical(item, groups) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_canonical(item, groups) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (UUID, datetime)):
        return str(value)
    return value
