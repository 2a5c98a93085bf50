"""A workflow's definition: everything a client registers, kept whole.

A definition is immutable; registering another one makes a new *version*. Durations are seconds. What this
engine cannot run yet is stored all the same, and `broadaxe.domain.features` says what a trigger would need.
"""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId, VersionId, WorkflowId


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A wish for the worker's labels. Exactly one of `text` and `number` is set."""

    key: str
    text: str | None = None
    number: int | None = None
    required: bool = False
    comparator: int = 0
    """0 =, 1 !=, 2 >, 3 >=, 4 <, 5 <= (the last four for numbers)."""
    weight: int = 100


@dataclass(frozen=True, slots=True)
class RateLimitUse:
    """Units of a rate limit that a task takes."""

    key: str = ""
    units: int | None = None
    key_expression: str | None = None
    units_expression: str | None = None
    limit_expression: str | None = None
    window: int | None = None
    """0 second ... 6 year."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """One concurrency strategy."""

    expression: str
    max_runs: int | None = None
    strategy: int | None = None
    name: str | None = None
    tenant_scoped: bool | None = None
    max_runs_expression: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a parent, a sleep or a user event; `kind` says which."""

    kind: str
    """`parent`, `sleep` or `event`."""
    data_key: str
    action: int
    """0 create, 1 queue, 2 cancel, 3 skip."""
    or_group: str
    expression: str
    parent: str = ""
    sleep_for: str = ""
    event_key: str = ""
    event_scope: str | None = None
    consider_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How tasks of a step are gathered into batches."""

    max_size: int
    max_interval_ms: int | None = None
    group_key: str | None = None
    group_max_runs: int | None = None
    broadcast_output: bool | None = None


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """A step: what becomes a task in each run."""

    id: UUID
    """Derived from the workflow's name and the step's, so the same definition has the same ids."""
    name: str
    action: str
    """Queue key, normalised (`service:verb`, lower-cased verb)."""
    timeout: float = 60.0
    schedule_timeout: float = 300.0
    retries: int = 0
    backoff_factor: float | None = None
    backoff_max: float = 86_400.0
    slots: dict[str, int] = field(default_factory=lambda: {"default": 1})
    parents: tuple[str, ...] = ()
    labels: tuple[LabelRequest, ...] = ()
    rate_limits: tuple[RateLimitUse, ...] = ()
    concurrency: tuple[Concurrency, ...] = ()
    conditions: tuple[Condition, ...] = ()
    durable: bool = False
    batch: BatchConfig | None = None
    inputs: str = ""


@dataclass(frozen=True, slots=True)
class DefaultFilter:
    """A declared filter on the workflow's events."""

    expression: str
    scope: str
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """How a trigger's idempotency key is made and held."""

    expression: str
    ttl_ms: int
    method: int | None = None


@dataclass(frozen=True, slots=True)
class WorkflowDefinition:
    """Everything registered about a workflow."""

    name: str
    steps: tuple[StepDefinition, ...]
    description: str = ""
    version: str = ""
    event_triggers: tuple[str, ...] = ()
    cron_triggers: tuple[str, ...] = ()
    cron_input: str | None = None
    on_failure: StepDefinition | None = None
    sticky: int | None = None
    default_priority: int | None = None
    concurrency: tuple[Concurrency, ...] = ()
    default_filters: tuple[DefaultFilter, ...] = ()
    input_schema: bytes | None = None
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """A stored, immutable version of a workflow."""

    tenant_id: TenantId
    workflow_id: WorkflowId
    version_id: VersionId
    definition: WorkflowDefinition
    created_at: datetime
    number: int
    """Counted from 1 in the order in which the workflow's versions were registered."""


@dataclass(frozen=True, slots=True)
class LabelValue:
    """A worker's label: exactly one of the two is set."""

    text: str | None = None
    number: int | None = None
