"""Crons and planned runs: what is due, what was missed, and what happens while a workflow is paused.

Pure: a cron's times come from a `Calendar` that is passed in, so nothing here knows time zones or clocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

CRON_EXPRESSION = "hatchet__cron_expression"
CRON_NAME = "hatchet__cron_name"
CRON_SCHEDULED_AT = "hatchet__cron_scheduled_at"
SCHEDULED_AT = "hatchet__scheduled_at"

TICK = timedelta(microseconds=1)
"""The smallest step of time that is kept."""


class Method(IntEnum):
    """Who made a cron. Values are stored."""

    DECLARED = 0
    """It came with a workflow's version, and goes with the next one that does not name it."""
    API = 1


class SkipReason(IntEnum):
    """Why due times have no run. Values are stored."""

    MISSED = 1
    """Nobody scheduled then, and the policy is not to catch up."""
    PAUSED = 2
    """The workflow was paused, and its crons or planned runs are dropped meanwhile."""
    REFUSED = 3
    """The run could not be made: the workflow or the input does not allow it."""
    DISABLED = 4
    """The cron was switched off."""
    KEY_HELD = 5
    """Another run holds the idempotency key."""


class Missed(IntEnum):
    """What is done about times that nobody scheduled at."""

    SKIP = 0
    LAST = 1
    """The last of them is made up for."""


class PausedRuns(IntEnum):
    """What happens to a cron or planned run that is due while its workflow is paused. Values are stored."""

    DROP = 0
    QUEUE = 1


class Calendar(Protocol):
    """The times of one cron expression. They are whole seconds."""

    def after(self, at: datetime) -> datetime | None:
        """The first time after this moment; None if there is none in the years to come."""

    def before(self, at: datetime) -> datetime | None:
        """The last time before this moment."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Due times from `first` to `last`, both included, that get no run."""

    first: datetime
    last: datetime
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Due:
    """What a cron owes now: what to note as skipped, and the times to start runs for, in order."""

    skip: Skip | None
    fires: tuple[datetime, ...]
    next: datetime | None
    """The first time after these, None when there is none."""


def cron_due(
    calendar: Calendar,
    settled_until: datetime,
    now: datetime,
    *,
    grace: timedelta,
    missed: Missed,
    most: int,
) -> Due:
    """What is due at `now` for a cron of which everything up to `settled_until` was dealt with.

    A time that went by less than `grace` ago is fired, late; older ones were missed. At most `most` fires are
    answered at once: the rest is due at the next call.
    """
    oldest = now - grace
    first = calendar.after(settled_until)
    skip: Skip | None = None
    fires: list[datetime] = []
    if first is not None and first < oldest:
        last = calendar.before(oldest)
        assert last is not None
        if missed is Missed.LAST:
            fires.append(last)
            previous = calendar.before(last)
            if previous is not None and previous >= first:
                skip = Skip(first, previous, SkipReason.MISSED)
        else:
            skip = Skip(first, last, SkipReason.MISSED)
        first = calendar.after(last)
    while first is not None and first <= now and len(fires) < most:
        fires.append(first)
        first = calendar.after(first)
    return Due(skip, tuple(fires), first)


@dataclass(frozen=True, slots=True)
class Pause:
    """A workflow that is paused, or was once."""

    paused_at: datetime | None = None
    """None while it is not paused."""
    ttl: float = 0.0
    """Seconds after which what waits because of the pause is cancelled."""
    crons: PausedRuns = PausedRuns.DROP
    scheduled: PausedRuns = PausedRuns.DROP
    resumed_at: datetime | None = None
    """When it last was resumed: what waited then begins to wait for a worker anew."""

    @property
    def active(self) -> bool:
        """Whether the workflow is paused now."""
        return self.paused_at is not None

    def expires(self, queued_at: datetime) -> datetime:
        """When a task that waits since `queued_at` is cancelled, if the pause lasts."""
        assert self.paused_at is not None
        return max(self.paused_at, queued_at) + timedelta(seconds=self.ttl)

    def waits_since(self, queued_at: datetime) -> datetime:
        """From when a waiting task's schedule time-out counts."""
        return queued_at if self.resumed_at is None else max(self.resumed_at, queued_at)


def dropped_while_paused(pause: Pause | None, cron: bool) -> bool:
    """Whether a cron (or else a planned run) that is due now is dropped."""
    if pause is None or not pause.active:
        return False
    return (pause.crons if cron else pause.scheduled) is PausedRuns.DROP


def settled(due: Sequence[datetime], skip: Skip | None, before: datetime) -> datetime:
    """Up to when a cron is dealt with after these fires and this skip."""
    return max([before, *due, *([skip.last] if skip is not None else [])])
