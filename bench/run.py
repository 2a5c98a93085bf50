"""`make bench`: starts engines, loads them, prints the table of figures as Markdown.

The engines run on an embedded PostgreSQL with full durability. Progress goes to standard error.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench import restart
from bench.engine import Engine, fresh_directory, run_program, start_program, tracing
from bench.table import render
from bench.watch import Watch
from bench.wire import Connection, Worker, trigger_request
from broadaxe.testkit.collector import Collector

IDLE_SECONDS = 30.0
WARM_UP = 1000
ROUNDS = 3
MEASURED = {"SERVER_PROMETHEUS_ENABLED": "true", "SERVER_PROMETHEUS_ADDRESS": "127.0.0.1:0"}
LOAD = ("--inflight", 500, "--bulk", 100, "--workers", 2)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


async def load(engine: Engine, *options: object) -> dict[str, float]:
    """Run the load generator on an engine; its figures."""
    result = await run_program(
        "bench.load",
        "--client-env",
        engine.client_env,
        "--engine-pid",
        engine.pid,
        "--dsn",
        engine.dsn,
        *options,
    )
    say(json.dumps(result))
    return result  # type: ignore[return-value]


async def several(engine: Engine) -> dict[str, float]:
    """Runs of several steps."""
    where = ("--client-env", engine.client_env, "--engine-pid", engine.pid, "--dsn", engine.dsn)
    found = await run_program("bench.dags", *where)
    say(json.dumps(found))
    return {
        "chain_ms": found["chain_ms"]["p50"],  # type: ignore[index]
        "chain_ms_p99": found["chain_ms"]["p99"],  # type: ignore[index]
        "steps_per_second": found["steps_per_second"],  # type: ignore[dict-item]
        "statements_step": found["statements_per_step"],  # type: ignore[dict-item]
        "wal_bytes_step": found["wal_bytes_per_step"],  # type: ignore[dict-item]
    }


async def idle(engine: Engine, seconds: float) -> dict[str, float]:
    """Statements a second and CPU with nothing to do: without a worker, and with one connected."""
    await asyncio.sleep(2.0)  # what the start still has to do is no idling
    alone = await _idle(engine, seconds)
    connection = Connection(engine.client)
    await connection.put_workflow()
    worker = Worker(connection, 10, lambda _run, _at: None, lambda _run, _at: None)
    await worker.start()
    await asyncio.sleep(6.0)  # until its first heartbeats are written
    accompanied = await _idle(engine, seconds)
    await worker.stop()
    await connection.close()
    return alone | {f"{name}_worker": value for name, value in accompanied.items()}


async def _idle(engine: Engine, seconds: float) -> dict[str, float]:
    watch = Watch(engine.pid, engine.dsn)
    before = await watch.begin()
    await asyncio.sleep(seconds)
    spent = (await watch.end()).since(before)
    cpu = spent.get("engine_cpu", 0.0) + spent.get("postgres_cpu", 0.0)
    return {
        "idle_statements": spent["statements"] / spent["database_seconds"],
        "idle_cpu": cpu / spent["seconds"] * 100,
    }


async def through_sdk(engine: Engine, count: int) -> dict[str, float]:
    """Latencies of the official SDK's worker and caller."""
    async with await start_program("bench.sdk", "worker", env=engine.client) as worker:
        await worker.wait_line("acquired action listener|starting runner|waiting for tasks|listen", 60)
        return await run_program("bench.sdk", "caller", "--count", count, env=engine.client)  # type: ignore[return-value]


async def one_run(engine: Engine, collector: Collector) -> dict[str, float]:
    """Spans and traces that a single run leaves."""
    connection = Connection(engine.client)
    done = asyncio.Event()
    worker = Worker(connection, 10, lambda _run, _at: None, lambda _run, _at: done.set())
    await connection.put_workflow()
    await worker.start()
    await asyncio.sleep(3.0)  # so that spans of the set-up are not taken for the run's
    begin = time.time_ns()
    await connection.trigger(trigger_request().SerializeToString())
    await asyncio.wait_for(done.wait(), 30)
    own = "hatchet.run/run"
    await collector.wait_for(
        lambda: any(s.start_ns >= begin and s.name == own for s in collector.spans), own, 30
    )
    await asyncio.sleep(6.0)  # exporters send every five seconds
    await worker.stop()
    await connection.close()
    heartbeat = ("Heartbeat", "ListenV2")
    trace_ids = {span.trace_id for span in collector.spans if span.name == own and span.start_ns >= begin}
    spans = [span for span in collector.spans if span.trace_id in trace_ids]
    others = {
        span.trace_id
        for span in collector.spans
        if span.start_ns >= begin
        and any(key in span.name for key in ("Trigger", "StepAction", "flush"))
        and not any(word in span.name for word in heartbeat)
    }
    return {"spans": float(len(spans)), "traces": float(len(trace_ids | others))}


async def untraced(engine: Engine, options: argparse.Namespace) -> dict[str, float]:
    """Everything that is measured with telemetry off; the engine is left stopped."""
    say("idle ...")
    figures = await idle(engine, options.idle)
    say("ten a second ...")
    slow = await load(engine, "--rate", 10, "--count", options.slow, "--subscribe")
    figures["statements_slow"] = slow["statements_per_task"]
    figures["action_ms"] = slow["trigger_to_action_ms"]["p50"]  # type: ignore[index]
    say("load ...")
    full = await load(engine, "--count", options.count, "--warm-up", WARM_UP, *LOAD)
    figures |= {
        "runs_per_second": full["runs_per_second"],
        "engine_cpu": full["engine_cpu_s_per_1000"],
        "postgres_cpu": full["postgres_cpu_s_per_1000"],
        "statements_load": full["statements_per_task"],
        "wal_bytes": full["wal_bytes_per_task"],
        "database_mb": full["database_bytes_per_10000"] / 1e6,
        "generator_cpu": full["generator_cpu_s_per_1000"],
        "engine_rss": full["engine_rss_mb"],
    }
    say("runs of several steps ...")
    figures |= await several(engine)
    if options.sdk:
        say("official SDK ...")
        sdk = await through_sdk(engine, options.sdk)
        figures |= {"sdk_ms": sdk["run_and_wait_ms_p50"], "children_s": sdk["children_100_s"]}
    return figures


async def watching_cost(plain: Engine, watched: Engine, count: int) -> tuple[float, float]:
    """CPU in milliseconds that a task takes more on the second, and its runs a second.

    The load on both in turns, since a machine's pace changes from minute to minute.
    """
    added, pace = [], []
    await load(watched, "--count", WARM_UP, *LOAD)
    for _ in range(ROUNDS):
        without = await load(plain, "--count", count // 2, *LOAD)
        with_it = await load(watched, "--count", count // 2, *LOAD)
        added.append(with_it["engine_cpu_s_per_1000"] - without["engine_cpu_s_per_1000"])
        pace.append(with_it["runs_per_second"])
    # Seconds per 1,000 tasks are milliseconds a task.
    return statistics.median(added), statistics.median(pace)


@contextlib.asynccontextmanager
async def running(env: dict[str, str]) -> AsyncIterator[Engine]:
    """An engine in a directory of its own, both gone afterwards."""
    home = fresh_directory()
    engine = Engine(home, env)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """All figures."""
    async with running({}) as plain:
        figures = await untraced(plain, options)
        if not options.no_tracing:
            async with Collector() as collector, running(tracing(collector.target)) as traced:
                say("one traced run ...")
                figures |= await one_run(traced, collector)
                say("load with and without traces ...")
                cost = await watching_cost(plain, traced, options.count)
                figures["tracing_ms"], figures["runs_per_second_traced"] = cost
                if options.sdk:
                    sdk = await through_sdk(traced, options.sdk)
                    figures["sdk_ms_traced"] = sdk["run_and_wait_ms_p50"]
        async with running(MEASURED) as measured:
            say("load with and without metrics ...")
            figures["metrics_ms"], _ = await watching_cost(plain, measured, options.count)
        say("kill -9 and restart ...")
        again = await restart.measure(plain)
        figures |= {"restart_s": again.first_task, "ready_s": again.ready}
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="runs of the load")
    parser.add_argument("--slow", type=int, default=200, help="runs at ten a second")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds of idling")
    parser.add_argument(
        "--sdk", type=int, default=100, help="runs through the official SDK; 0 = leave it out"
    )
    parser.add_argument("--no-tracing", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(render(figures))


if __name__ == "__main__":
    main()
