"""How PostgreSQL itself does: bloat, cache, long statements and vacuums, as gauges read once a minute."""

from dataclasses import dataclass
from datetime import timedelta

from broadaxe.store.connection import Database
from broadaxe.store.instruments import Labels
from broadaxe.store.statements import statement
from broadaxe.telemetry import names as T

LONG_QUERY = timedelta(minutes=5)
LONG_VACUUM = timedelta(hours=1)
BLOATED_PERCENT = 20.0
"""Dead rows of all from which on a table counts as bloated."""
KEPT = 180.0
"""Seconds for which a reading is told."""
BLOATED_ROWS = 10_000
"""Fewer dead rows are no bloat, whatever their share."""

Observations = list[tuple[float, Labels]]


@dataclass(frozen=True, slots=True)
class TableHealth:
    """What the server counted about one table, all its partitions together."""

    name: str
    live: int
    dead: int
    hits: int
    reads: int
    since_autovacuum: float | None
    """Seconds; None if there never was one."""

    @property
    def dead_percent(self) -> float:
        """Dead rows of a hundred."""
        return 100.0 * self.dead / max(1, self.live + self.dead)

    @property
    def bloated(self) -> bool:
        """Whether an operator should look."""
        return self.dead >= BLOATED_ROWS and self.dead_percent >= BLOATED_PERCENT


class DatabaseHealth:
    """Keeps the last reading for the instruments."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tables: list[TableHealth] = []
        self._activity: tuple[int, int, int] | None = None
        self._read_at = 0.0
        observe = database.metrics.observe
        observe(T.METRIC_DB_BLOAT_COUNT, self._bloat)
        observe(T.METRIC_DB_DEAD_TUPLE_PERCENT, self._dead)
        observe(T.METRIC_DB_QUERY_CACHE_HIT_RATIO, self._hits)
        observe(T.METRIC_DB_LAST_AUTOVACUUM, self._autovacuum)
        observe(T.METRIC_DB_LONG_RUNNING_QUERIES, self._queries)
        observe(T.METRIC_DB_LONG_RUNNING_VACUUM, self._vacuums)

    async def read(self) -> None:
        """Ask the server: two statements. Unavailable."""
        rows = await self._db.fetch(statement("health_tables"))
        self._tables = [TableHealth(*row) for row in rows]
        ((queries, long, vacuums),) = await self._db.fetch(
            statement("health_activity"), LONG_QUERY, LONG_VACUUM
        )
        self._activity = (queries, long, vacuums - long)
        self._read_at = self._db.clock.monotonic()

    def _old(self) -> bool:
        """Whether another process reads by now: then this one says nothing."""
        return self._activity is None or self._db.clock.monotonic() - self._read_at > KEPT

    def _known(self) -> list[TableHealth]:
        return [] if self._old() else self._tables

    def _bloat(self) -> Observations:
        tables = self._known()
        if not tables:
            return []
        bloated = sum(table.bloated for table in tables)
        return [
            (bloated, ((T.LABEL_HEALTH_STATUS, "bloated"),)),
            (len(tables) - bloated, ((T.LABEL_HEALTH_STATUS, "healthy"),)),
        ]

    def _dead(self) -> Observations:
        return [(table.dead_percent, ((T.LABEL_TABLE_NAME, table.name),)) for table in self._known()]

    def _hits(self) -> Observations:
        return [
            (100.0 * table.hits / (table.hits + table.reads), ((T.LABEL_TABLE_NAME, table.name),))
            for table in self._known()
            if table.hits + table.reads
        ]

    def _autovacuum(self) -> Observations:
        return [
            (table.since_autovacuum, ((T.LABEL_TABLE_NAME, table.name),))
            for table in self._known()
            if table.since_autovacuum is not None
        ]

    def _queries(self) -> Observations:
        return [] if self._activity is None or self._old() else [(self._activity[0], ())]

    def _vacuums(self) -> Observations:
        if self._activity is None or self._old():
            return []
        _, long, other = self._activity
        return [
            (long, ((T.LABEL_HEALTH_STATUS, "long"),)),
            (other, ((T.LABEL_HEALTH_STATUS, "healthy"),)),
        ]
