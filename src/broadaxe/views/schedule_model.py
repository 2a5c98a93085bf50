"""Crons and planned runs as readers see them."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from broadaxe.store.schedule_reads import CronCriteria as CronCriteria
from broadaxe.store.schedule_reads import ListedCron as ListedCron
from broadaxe.store.schedule_reads import ListedScheduled as ListedScheduled
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
class ScheduledView:
    """A planned run, and how the run shows that came of it."""

    planned: ListedScheduled
    run_name: str | None
    run_status: RunStatus | None
