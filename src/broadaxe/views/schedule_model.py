"""Crons and planned runs as readers see them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from broadaxe.views.model import RunStatus


class CronOrder(StrEnum):
    """What crons are ordered by."""

    NAME = "name"
    CREATED = "createdAt"


class ScheduledOrder(StrEnum):
    """What planned runs are ordered by."""

    TRIGGER = "triggerAt"
    CREATED = "createdAt"


@dataclass(frozen=True, slots=True)
class CronFilter:
    """Which crons. None and empty tuples ask for nothing; all of `metadata` must be there."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    workflow: str | None = None
    name: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduledFilter:
    """Which planned runs. None and empty tuples ask for nothing; all of `metadata` must be there."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    statuses: tuple[RunStatus, ...] = ()
    """Of the runs that were started."""
    waiting: bool = False
    """Those that wait, too; without it and without statuses all of them."""


@dataclass(frozen=True, slots=True)
class CronView:
    """A cron."""

    tenant_id: UUID
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version_id: UUID
    expression: str
    name: str | None
    declared: bool
    enabled: bool
    priority: int | None
    input: bytes
    metadata: bytes
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ScheduledView:
    """A planned run, and the run that came of it."""

    tenant_id: UUID
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version_id: UUID
    trigger_at: datetime
    priority: int | None
    input: bytes
    metadata: bytes
    created_at: datetime
    updated_at: datetime
    settled_at: datetime | None
    """None while it waits."""
    run_id: UUID | None
    run_created_at: datetime | None
    run_name: str | None
    run_status: RunStatus | None
