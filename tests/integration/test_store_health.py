"""What the instruments tell of PostgreSQL itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from rows import new_task
from store_server import new_options

from broadaxe.clock import SystemIds
from broadaxe.store.connection import Database
from broadaxe.store.health import BLOATED_ROWS, LONG_QUERY, DatabaseHealth, TableHealth
from broadaxe.store.instruments import Labels, NoMetrics
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry import names as T
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.telemetry.vocabulary import Metric
from broadaxe.testkit.conditions import until
from broadaxe.testkit.virtual_time import VirtualClock


class Gauges(NoMetrics):
    """Keeps what is to be asked."""

    def __init__(self) -> None:
        self.asked: dict[Metric, Callable[[], Iterable[tuple[float, Labels]]]] = {}

    def observe(self, metric: Metric, callback: Callable[[], Iterable[tuple[float, Labels]]]) -> None:
        self.asked[metric] = callback

    def read(self, metric: Metric) -> dict[tuple[str | int, ...], float]:
        """Values by their labels' values."""
        return {tuple(text for _, text in labels): value for value, labels in self.asked[metric]()}


@asynccontextmanager
async def watched(dsn: str) -> AsyncIterator[tuple[VirtualClock, Gauges, DatabaseHealth]]:
    clock, gauges, ids = VirtualClock(), Gauges(), SystemIds()
    database = Database(new_options(dsn), clock, ids, Tracer(clock, ids, None, Sampler(0.0)), gauges)
    health = DatabaseHealth(database)
    await database.open()
    await database.availability.wait()
    yield clock, gauges, health
    await database.close()


async def test_read_counts_tables_with_their_partitions(dsn: str, ledger: PostgresLedger) -> None:
    await ledger.create_tasks([new_task() for _ in range(100)], patience=None)
    # A connection that stays open and has nothing more to do tells the server up to ten seconds later.
    await ledger.close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("DELETE FROM task WHERE id IN (SELECT id FROM task LIMIT 25)")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    told = "SELECT sum(n_tup_ins) >= 100 FROM pg_stat_user_tables WHERE relname LIKE 'task_p2%'"
    await until(lambda: connection.fetchval(told), "the server's statistics know of the tasks")
    async with watched(dsn) as (clock, gauges, health):
        assert gauges.read(T.METRIC_DB_DEAD_TUPLE_PERCENT) == {}
        await health.read()
        dead = gauges.read(T.METRIC_DB_DEAD_TUPLE_PERCENT)
        assert 0 < dead["task",] <= 25.0
        assert not [name for (name,) in dead if "_p2" in str(name)], "partitions count to their table"
        assert {"worker", "lease", "attempt"} <= {str(name) for (name,) in dead}
        assert gauges.read(T.METRIC_DB_BLOAT_COUNT) == {("bloated",): 0, ("healthy",): len(dead)}
        assert 0 <= gauges.read(T.METRIC_DB_QUERY_CACHE_HIT_RATIO)["task",] <= 100.0
        assert gauges.read(T.METRIC_DB_LONG_RUNNING_QUERIES) == {(): 0}
        assert gauges.read(T.METRIC_DB_LONG_RUNNING_VACUUM) == {("long",): 0, ("healthy",): 0}
        clock.advance(600)
        assert gauges.read(T.METRIC_DB_LONG_RUNNING_QUERIES) == {}, "another process reads by now"
    await connection.close()


def test_table_with_many_dead_rows_is_bloated() -> None:
    def table(live: int, dead: int) -> TableHealth:
        return TableHealth("task", live, dead, 0, 0, None)

    assert table(3 * BLOATED_ROWS, BLOATED_ROWS).bloated
    assert not table(10 * BLOATED_ROWS, BLOATED_ROWS).bloated
    assert not table(0, BLOATED_ROWS - 1).bloated
    assert table(0, 0).dead_percent == 0.0


async def test_statement_that_runs_for_long_is_counted(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadaxe.store.health.LONG_QUERY", LONG_QUERY * 0)
    slow, other = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await other.execute("SELECT pg_advisory_lock(1)")
    waiting = asyncio.ensure_future(slow.execute("SELECT pg_advisory_lock(1)"))
    blocked = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await until(lambda: other.fetchval(blocked), "the second lock waits")
    async with watched(dsn) as (_, gauges, health):
        await health.read()
        # The one that waits, and the one that asks.
        assert gauges.read(T.METRIC_DB_LONG_RUNNING_QUERIES)[()] >= 1
    await other.close()
    await waiting
    await slow.close()
