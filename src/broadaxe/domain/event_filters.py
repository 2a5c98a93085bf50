"""Filters: which runs an event starts of a workflow that declared its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from broadaxe.domain.ids import TenantId, WorkflowId

NO_FILTER = (None,)
"""One run, with no filter: the workflow has none at all."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter of a workflow: a run for each event of its scope for which the expression is true."""

    tenant_id: TenantId
    id: UUID
    workflow_id: WorkflowId
    scope: str
    expression: str
    payload: bytes
    """A JSON object, given to the expression and to the run."""
    declared: bool
    """It came with the workflow's definition, and goes with it."""
    created_at: datetime
    updated_at: datetime


def candidates(
    filters: Sequence[EventFilter], scope: str | None
) -> "Sequence[EventFilter] | tuple[None, ...]":
    """The filters whose expressions decide, each about a run of its own.

    `NO_FILTER` when the workflow has none: one run, unasked. Nothing when it has some, but the event has no
    scope or none of them has its scope.
    """
    if not filters:
        return NO_FILTER
    return () if scope is None else tuple(one for one in filters if one.scope == scope)


class FailureSource(IntEnum):
    """What an expression that failed was for. Values are stored."""

    FILTER = 1
    IDEMPOTENCY = 2


@dataclass(frozen=True, slots=True)
class ExpressionFailure:
    """An expression failed, so that an event did not start a run."""

    source: FailureSource
    workflow_id: WorkflowId
    filter_id: UUID | None
    message: str
