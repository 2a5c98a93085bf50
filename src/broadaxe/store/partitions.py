"""Day partitions: made ahead, dropped when old."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from broadaxe.store.connection import Database
from broadaxe.store.instruments import Labels
from broadaxe.store.session import Session
from broadaxe.store.statements import statement
from broadaxe.telemetry import names as T

_ROWS_AT_ONCE = 20_000
"""Rows of a table deleted in one transaction, well within a statement's time-out."""


@dataclass(frozen=True, slots=True)
class PartitionHorizon:
    """What `ensure_partitions` made, and up to when there is room."""

    made: tuple[str, ...]
    until: datetime
    """Tasks created from then on have no partition."""


@dataclass(frozen=True, slots=True)
class DropReport:
    """What `drop_partitions_before` did."""

    dropped_days: tuple[date, ...]
    emptied_days: tuple[date, ...]
    """Days that still hold unfinished tasks; the others of those days were deleted."""
    rows_deleted: int


def horizon(days: Iterable[date], today: date) -> datetime:
    """Up to when there is room: the end of the last of the days that follow from today without a gap."""
    made = set(days)
    day = today
    while day in made:
        day += timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class Partitions:
    """Service functions over the day partitions."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._until: datetime | None = None
        database.metrics.observe(T.METRIC_PARTITION_HORIZON, self._seconds_ahead)

    def _seconds_ahead(self) -> list[tuple[float, Labels]]:
        return [((self._until - self._db.clock.now()).total_seconds(), ())] if self._until else []

    async def maintain(self, retention: timedelta | None) -> None:
        """The hourly chore: makes what is missing ahead, drops what is older than `retention` if given."""
        tracer = self._db.instruments.tracer
        span = tracer.start(T.SPAN_MAINTAIN_PARTITIONS)
        error: str | None = "failed"
        try:
            with tracer.use(span):
                made = await self.ensure_partitions()
            span.set(T.ATTR_PARTITIONS_CREATED, len(made.made))
            error = None
        finally:
            span.end(error_type=error)
        if retention is None:
            return
        span = tracer.start(T.SPAN_RETENTION)
        error = "failed"
        try:
            with tracer.use(span):
                oldest = (self._db.clock.now() - retention).astimezone(UTC).date()
                report = await self.drop_partitions_before(oldest)
            span.set(T.ATTR_PARTITIONS_DROPPED, len(report.dropped_days))
            span.set(T.ATTR_ROWS_CHANGED, report.rows_deleted)
            error = None
        finally:
            span.end(error_type=error)

    async def ensure_partitions(self, days_ahead: int | None = None) -> PartitionHorizon:
        """Makes the days from yesterday (clocks differ) to `days_ahead` from today where they are missing."""
        today = self._db.clock.now().astimezone(UTC).date()
        ahead = self._db.options.days_ahead if days_ahead is None else days_ahead
        last = today + timedelta(days=ahead)
        rows = await self._db.fetch(statement("partition_make"), today - timedelta(days=1), last)
        self._until = horizon(await self.days(), today)
        return PartitionHorizon(tuple(row[0] for row in rows), self._until)

    async def days(self) -> list[date]:
        """Days that have partitions, oldest first."""
        return [row[0] for row in await self._db.fetch(statement("partition_days"))]

    async def drop_partitions_before(self, day: date) -> DropReport:
        """Drops all days before `day`; one that holds unfinished tasks is emptied of the rest instead."""
        dropped: list[date] = []
        emptied: list[date] = []
        rows_deleted = 0
        for old in await self.days():
            if old >= day:
                break

            tables, rows = await self._drop(old)
            while not tables and rows >= _ROWS_AT_ONCE:
                rows_deleted += rows
                tables, rows = await self._drop(old)
            (dropped if tables else emptied).append(old)
            rows_deleted += rows
        return DropReport(tuple(dropped), tuple(emptied), rows_deleted)

    async def _drop(self, day: date) -> tuple[int, int]:
        async def work(session: Session) -> tuple[int, int]:
            row = (await session.fetch(statement("partition_drop_day"), day, _ROWS_AT_ONCE))[0]
            return row[0], row[1]

        return await self._db.transaction(work)
