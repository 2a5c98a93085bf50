"""What the engine and PostgreSQL spend between two moments."""

import time
from dataclasses import dataclass, replace

import asyncpg

from broadaxe.testkit.usage import find_below, tree_usage

_COUNTS = """
SELECT coalesce(sum(calls), 0)
  FROM pg_stat_statements
 WHERE query !~* '^(begin|start|commit|rollback|end|savepoint|release)' AND query !~ 'bench:count'
   AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SIZES = """
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal, pg_database_size(current_database()) AS size,
       (SELECT xact_commit + xact_rollback
          FROM pg_stat_database WHERE datname = current_database()) AS transactions
       -- bench:count
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything counts up; None where it cannot be read."""

    at: float
    """When the processes were looked at."""
    database_at: float
    engine_cpu: float | None = None
    engine_rss: int | None = None
    postgres_cpu: float | None = None
    statements: int | None = None
    transactions: int | None = None
    wal_bytes: int | None = None
    database_bytes: int | None = None

    def since(self, before: "Reading") -> dict[str, float]:
        """The differences, by name; `seconds` lie between, of the database `database_seconds`."""
        found: dict[str, float] = {
            "seconds": self.at - before.at,
            "database_seconds": self.database_at - before.database_at,
        }
        for name in (
            "engine_cpu",
            "postgres_cpu",
            "statements",
            "transactions",
            "wal_bytes",
            "database_bytes",
        ):
            after, earlier = getattr(self, name), getattr(before, name)
            if after is not None and earlier is not None:
                found[name] = float(after - earlier)
        if self.engine_rss is not None:
            found["engine_rss"] = float(self.engine_rss)
        return found


class Watch:
    """Reads /proc for the processes and pg_stat_statements for the database; either may be left out."""

    def __init__(self, engine_pid: int | None, dsn: str | None, postgres_pid: int | None = None) -> None:
        self._engine = engine_pid
        self._dsn = dsn
        below = find_below(engine_pid, "postgres") if engine_pid is not None else []
        self._postgres = postgres_pid or (below[0] if below else None)

    async def begin(self) -> Reading:
        """The reading before what is measured, which is no part of it: the processes are looked at last."""
        database = await self._database()
        return self._processes(database)

    async def end(self) -> Reading:
        """The reading after it: the processes are looked at first."""
        found = self._processes(Reading(at=0.0, database_at=0.0))
        database = await self._database()
        return replace(
            database,
            at=found.at,
            engine_cpu=found.engine_cpu,
            engine_rss=found.engine_rss,
            postgres_cpu=found.postgres_cpu,
        )

    async def _database(self) -> Reading:
        statements = transactions = wal = size = None
        if self._dsn is not None:
            connection = await asyncpg.connect(self._dsn)
            try:
                await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements -- bench:count")
                row = await connection.fetchrow(_SIZES)
                wal, size, transactions = int(row["wal"]), int(row["size"]), int(row["transactions"])
                statements = int(await connection.fetchval(_COUNTS + "-- bench:count"))
            finally:
                await connection.close()
        now = time.perf_counter()
        return Reading(
            at=now,
            database_at=now,
            statements=statements,
            transactions=transactions,
            wal_bytes=wal,
            database_bytes=size,
        )

    def _processes(self, database: Reading) -> Reading:
        engine = tree_usage(self._engine, without=self._postgres) if self._engine is not None else None
        postgres = tree_usage(self._postgres).cpu_seconds if self._postgres is not None else None
        return replace(
            database,
            at=time.perf_counter(),
            engine_cpu=engine.cpu_seconds if engine else None,
            engine_rss=engine.rss_bytes if engine else None,
            postgres_cpu=postgres,
        )
