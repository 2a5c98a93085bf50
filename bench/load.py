"""A load generator in a process of its own: triggers runs, works on them, prints one JSON object.

Open loop (`--rate`): single triggers at fixed moments, whatever the engine does. Closed loop (`--inflight`):
so many runs are unfinished at any time, triggered `--bulk` at a time.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import uvloop

from bench.watch import Watch
from bench.wire import Connection, Worker, bulk_request, environment, trigger_request
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher


class Times:
    """When each run was triggered, given to a worker and finished."""

    def __init__(self, wanted: int) -> None:
        self.triggered: dict[str, float] = {}
        self.acknowledged: dict[str, float] = {}
        self.given: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self._wanted = wanted
        self.all_done = asyncio.Event()
        self.room = asyncio.Event()
        self.seen: asyncio.Queue[str] = asyncio.Queue()

    def on_action(self, run_id: str, at: float) -> None:
        """A worker received the run's task."""
        if run_id not in self.given:
            self.given[run_id] = at
            self.seen.put_nowait(run_id)

    def on_done(self, run_id: str, at: float) -> None:
        """The run ended."""
        self.done.setdefault(run_id, at)
        self.room.set()
        if len(self.done) >= self._wanted:
            self.all_done.set()


def quantiles(seconds: Iterable[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {
        "p50": statistics.median(ordered) * 1e3,
        "p95": ordered[int(len(ordered) * 0.95)] * 1e3,
        "p99": ordered[int(len(ordered) * 0.99)] * 1e3,
        "max": ordered[-1] * 1e3,
    }


async def open_loop(connection: Connection, times: Times, options: argparse.Namespace) -> None:
    """A trigger every 1/rate seconds."""
    request = trigger_request(options.payload).SerializeToString()
    begin = time.perf_counter()

    async def one(due: float) -> None:
        run_id = await connection.trigger(request)
        times.triggered[run_id] = due
        times.acknowledged[run_id] = time.perf_counter()

    calls = []
    for number in range(options.count):
        due = begin + number / options.rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        calls.append(asyncio.create_task(one(time.perf_counter())))
    await asyncio.gather(*calls)


async def closed_loop(connection: Connection, times: Times, options: argparse.Namespace) -> None:
    """As fast as it goes with a bounded number of unfinished runs."""
    asked = 0
    while asked < options.count:
        bulk = min(options.bulk, options.count - asked)
        while asked + bulk - len(times.done) > options.inflight and len(times.done) < asked:
            times.room.clear()
            await times.room.wait()
        asked += bulk
        began = time.perf_counter()
        if bulk == 1:
            run_ids = [await connection.trigger(trigger_request(options.payload).SerializeToString())]
        else:
            run_ids = await connection.trigger_many(bulk_request(bulk, options.payload))
        ended = time.perf_counter()
        times.triggered.update(dict.fromkeys(run_ids, began))
        times.acknowledged.update(dict.fromkeys(run_ids, ended))


async def subscribe(connection: Connection, times: Times) -> None:
    """Take a run as finished when the engine says so, instead of when the worker's report is answered."""

    async def ids() -> AsyncIterator[bytes]:
        while True:
            request = dispatcher.SubscribeToWorkflowRunsRequest(workflow_run_id=await times.seen.get())
            yield request.SerializeToString()

    async for run_id in connection.finished(ids()):
        times.on_done(run_id, time.perf_counter())


def report(
    times: Times, options: argparse.Namespace, spent: dict[str, float], own_cpu: float
) -> dict[str, object]:
    """The figures; costs are per task of those that finished."""
    finished = [run_id for run_id in times.done if run_id in times.triggered]
    seconds = max(times.done.values(), default=0.0) - min(times.triggered.values(), default=0.0)
    count = max(1, len(finished))
    result: dict[str, object] = {
        "mode": "open" if options.rate else "closed",
        "asked": options.count,
        "finished": len(finished),
        "seconds": round(seconds, 3),
        "runs_per_second": round(len(finished) / seconds, 1) if seconds > 0 else 0.0,
        "trigger_ack_ms": quantiles(times.acknowledged[one] - times.triggered[one] for one in finished),
        "trigger_to_action_ms": quantiles(
            times.given[one] - times.triggered[one] for one in finished if one in times.given
        ),
        "trigger_to_finished_ms": quantiles(times.done[one] - times.triggered[one] for one in finished),
        "generator_cpu_s_per_1000": round(own_cpu / count * 1000, 4),
    }
    for name, key, scale in (
        ("engine_cpu_s_per_1000", "engine_cpu", 1000.0),
        ("postgres_cpu_s_per_1000", "postgres_cpu", 1000.0),
        ("statements_per_task", "statements", 1.0),
        ("transactions_per_task", "transactions", 1.0),
        ("wal_bytes_per_task", "wal_bytes", 1.0),
        ("database_bytes_per_10000", "database_bytes", 10_000.0),
    ):
        if key in spent:
            result[name] = round(spent[key] / count * scale, 4)
    if "engine_rss" in spent:
        result["engine_rss_mb"] = round(spent["engine_rss"] / 1e6, 1)
    return result


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Set up, load, tear down."""
    env = environment(options.client_env)
    triggers = Connection(env, light=not options.grpcio)
    await triggers.put_workflow()
    connections = [Connection(env, light=not options.grpcio) for _ in range(options.workers)]
    for connection in (triggers, *connections):
        await connection.open()
    if options.warm_up:
        await _load(
            options, triggers, connections, argparse.Namespace(**{**vars(options), "count": options.warm_up})
        )
    result = await _load(options, triggers, connections, options)
    for connection in (*connections, triggers):
        await connection.close()
    return result


async def _load(
    options: argparse.Namespace,
    triggers: Connection,
    connections: list[Connection],
    wanted: argparse.Namespace,
) -> dict[str, object]:
    times = Times(wanted.count)
    done = (lambda _run_id, _at: None) if options.subscribe else times.on_done
    workers = [
        Worker(connection, options.slots, times.on_action, done, started=not options.no_started)
        for connection in connections
    ]
    for worker in workers:
        await worker.start()
    follower = asyncio.create_task(subscribe(triggers, times)) if options.subscribe else None
    watch = Watch(options.engine_pid, options.dsn)
    before, cpu = await watch.begin(), time.process_time()
    loop = open_loop if options.rate else closed_loop
    timed_out = False
    try:
        async with asyncio.timeout(options.timeout):
            await loop(triggers, times, wanted)
            await times.all_done.wait()
    except TimeoutError:
        timed_out = True
    cpu = time.process_time() - cpu
    after = await watch.end()
    if follower is not None:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
    for worker in workers:
        await worker.stop()
    result = report(times, wanted, after.since(before), cpu)
    result["refused_reports"] = sum(worker.failures for worker in workers)
    result["timed_out"] = timed_out
    return result


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client-env", type=Path, help="file with HATCHET_CLIENT_*; else the environment")
    parser.add_argument("--count", type=int, default=1000, help="runs")
    parser.add_argument("--rate", type=float, default=0.0, help="triggers a second; 0 = closed loop")
    parser.add_argument("--inflight", type=int, default=500, help="closed loop: unfinished runs at a time")
    parser.add_argument("--bulk", type=int, default=100, help="closed loop: runs a trigger")
    parser.add_argument("--payload", type=int, default=64, help="bytes of input")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1000, help="slots a worker")
    parser.add_argument("--warm-up", type=int, default=0, help="runs before the measured ones")
    parser.add_argument("--no-started", action="store_true", help="answer COMPLETED only")
    parser.add_argument("--subscribe", action="store_true", help="finished = told by SubscribeToWorkflowRuns")
    parser.add_argument("--grpcio", action="store_true", help="load through grpcio: takes more CPU")
    parser.add_argument("--engine-pid", type=int, help="for CPU and memory of its process tree")
    parser.add_argument("--dsn", help="for statements, WAL bytes and size")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for the load")
    return parser.parse_args(given)


def main() -> None:
    """Print the figures."""
    options = arguments()
    gc.freeze()
    result = uvloop.run(run(options))
    print(json.dumps(result), flush=True)
    raise SystemExit(1 if result["timed_out"] else 0)


if __name__ == "__main__":
    main()
