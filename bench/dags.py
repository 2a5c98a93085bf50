"""Runs of several steps, in a process of its own: a chain of three, and a thousand steps two hundred wide.

Prints one JSON object: milliseconds from trigger to result of the chain, one after the other, and what a step
of the wide run takes of time, statements and WAL.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from bench.load import quantiles
from bench.watch import Watch
from bench.wire import Connection, Worker, environment, trigger_request
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as admin

ACTION = "bench-dag:step"
WIDTH, DEPTH = 200, 5


def chain(length: int) -> list[admin.CreateTaskOpts]:
    """Steps one behind the other."""
    return [_step(f"s{at}", *((f"s{at - 1}",) if at else ())) for at in range(length)]


def wide() -> list[admin.CreateTaskOpts]:
    """Two hundred chains of five beside each other."""
    return [_step(f"s{at}", *((f"s{at - WIDTH}",) if at >= WIDTH else ())) for at in range(WIDTH * DEPTH)]


def _step(name: str, *parents: str) -> admin.CreateTaskOpts:
    return admin.CreateTaskOpts(readable_id=name, action=ACTION, timeout="60s", parents=parents)


class Ends:
    """The results of runs, over one stream."""

    def __init__(self, connection: Connection) -> None:
        self._asked: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._task = asyncio.create_task(self._read(connection))

    async def of(self, run_id: str) -> None:
        """Wait for the end of a run."""
        ended = self._waiting[run_id] = asyncio.get_running_loop().create_future()
        request = dispatcher.SubscribeToWorkflowRunsRequest(workflow_run_id=run_id)
        self._asked.put_nowait(request.SerializeToString())
        await ended
        del self._waiting[run_id]

    async def close(self) -> None:
        """End the stream."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self, connection: Connection) -> None:
        async def ids() -> AsyncIterator[bytes]:
            while True:
                yield await self._asked.get()

        async for run_id in connection.finished(ids()):
            waiting = self._waiting.get(run_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Both measurements."""
    connection = Connection(environment(options.client_env))
    await connection.put_steps("bench-chain", chain(3))
    await connection.put_steps("bench-wide", wide())
    worker = Worker(connection, 1_000, lambda run, at: None, lambda run, at: None, action=ACTION)
    await worker.start()
    ends = Ends(connection)
    try:
        seconds = []
        request = trigger_request(workflow="bench-chain").SerializeToString()
        for _ in range(options.count):
            begun = time.perf_counter()
            await ends.of(await connection.trigger(request))
            seconds.append(time.perf_counter() - begun)
        watch = Watch(options.engine_pid, options.dsn)
        before = await watch.begin()
        begun = time.perf_counter()
        request = trigger_request(workflow="bench-wide").SerializeToString()
        for _ in range(options.wide):
            await ends.of(await connection.trigger(request))
        took = time.perf_counter() - begun
        spent = (await watch.end()).since(before)
    finally:
        await ends.close()
        await worker.stop()
        await connection.close()
    steps = options.wide * WIDTH * DEPTH
    return {
        "chain_ms": quantiles(seconds),
        "steps_per_second": steps / took,
        "statements_per_step": spent.get("statements", 0.0) / steps,
        "wal_bytes_per_step": spent.get("wal_bytes", 0.0) / steps,
        "failures": worker.failures,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client-env", type=Path)
    parser.add_argument("--engine-pid", type=int)
    parser.add_argument("--dsn")
    parser.add_argument("--count", type=int, default=100, help="chains of three")
    parser.add_argument("--wide", type=int, default=3, help="runs of a thousand steps")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
