"""Day partitions: made ahead, dropped when old."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from broadaxe.store.connection import Database
from broadaxe.store.session import Session
from broadaxe.store.statements import statement


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


class Partitions:
    """Service functions over the day partitions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def ensure_partitions(self, days_ahead: int | None = None) -> PartitionHorizon:
        """Makes the days from yesterday (clocks differ) to `days_ahead` from today where they are missing."""
        today = self._db.clock.now().astimezone(UTC).date()
        ahead = self._db.options.days_ahead if days_ahead is None else days_ahead
        last = today + timedelta(days=ahead)
        rows = await self._db.fetch(statement("partition_make"), today - timedelta(days=1), last)
        return PartitionHorizon(tuple(row[0] for row in rows), await self._horizon(today))

    async def _horizon(self, today: date) -> datetime:
        days = set(await self.days())
        day = today
        while day in days:
            day += timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

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

            async def work(session: Session, old: date = old) -> tuple[int, int]:
                row = (await session.fetch(statement("partition_drop_day"), old))[0]
                return row[0], row[1]

            tables, rows = await self._db.transaction(work)
            (dropped if tables else emptied).append(old)
            rows_deleted += rows
        return DropReport(tuple(dropped), tuple(emptied), rows_deleted)
