"""Many crons that are due at the same second: how long until each has its run, and what that costs.

`python -m bench.herd` starts an engine of its own; `--count` crons, all due at one second.
"""

import argparse
import asyncio
import json
import shutil
import sys
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg

from bench.engine import Engine, fresh_directory
from bench.watch import Watch
from bench.wire import Connection
from broadaxe.testkit.conditions import until

_HEAD_START = timedelta(seconds=12)
_MAKE = """
INSERT INTO cron (created_at, updated_at, settled_until, enabled, method, id, tenant_id, workflow_id,
                  expression, name, input, metadata)
SELECT now(), now(), now(), true, 1, u.id, w.tenant_id, w.id, $2, 'cron-' || u.n, '{"n":1}', '{"team":"blue"}'
FROM workflow w, unnest($3::uuid[]) WITH ORDINALITY AS u (id, n) WHERE w.name = $1
"""


async def measure(engine: Engine, count: int) -> dict[str, float]:
    """Seconds from the due time to the last run, lateness of runs, statements and WAL a run."""
    connection = Connection(engine.client)
    await connection.put_workflow("herd", "herd:step")
    await connection.close()
    database = await asyncpg.connect(engine.dsn)
    due = (datetime.now(UTC) + _HEAD_START).replace(microsecond=0)
    expression = f"{due.second} {due.minute} {due.hour} * * *"
    await database.execute(_MAKE, "herd", expression, [uuid.uuid4() for _ in range(count)])
    # The crons were made behind the engine's back: it reads them when it takes over.
    await database.close()
    await engine.kill()
    await engine.start()
    database = await asyncpg.connect(engine.dsn)
    left = (due - datetime.now(UTC)).total_seconds()
    if left < 1.0:
        raise RuntimeError("the engine was not up before the crons were due: raise the head start")
    watch = Watch(engine.pid, engine.dsn)
    before = await watch.begin()
    await asyncio.sleep(left)

    async def all_started() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM fire") == count)

    await until(all_started, "every cron to be started", 120.0, period=0.05)
    took = (datetime.now(UTC) - due).total_seconds()
    spent = (await watch.end()).since(before)
    created = await database.fetchrow(
        "SELECT extract(epoch FROM max(created_at) - $1::timestamptz),"
        " avg(extract(epoch FROM created_at - $1::timestamptz)), count(*) FROM task",
        due,
    )
    await database.close()
    assert created is not None
    assert created[2] == count
    return {
        "crons": count,
        "all_started_s": took,
        "created_mean_s": float(created[1]),
        "created_last_s": float(created[0]),
        "engine_cpu_s": spent.get("engine_cpu", 0.0),
        "statements_per_run": spent["statements"] / count,
        "wal_bytes_per_run": spent["wal_bytes"] / count,
    }


async def run(count: int) -> dict[str, float]:
    """On an engine in a directory of its own, both gone afterwards."""
    home = fresh_directory()
    engine = Engine(home, {})
    try:
        await engine.start()
        return await measure(engine, count)
    finally:
        await engine.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="crons that are due at once")
    options = parser.parse_args()
    json.dump(asyncio.run(run(options.count)), sys.stdout)
    print()


if __name__ == "__main__":
    main()
