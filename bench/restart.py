"""`kill -9` of the engine while tasks wait: how long until the first of them reaches a worker again."""

import asyncio
import time
from dataclasses import dataclass

import grpc
import grpc.aio

from bench.engine import Engine
from bench.wire import Connection, bulk_request
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher

WAITING = 200


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds."""

    ready: float
    """From the start of the new process to its `ready` line."""
    first_task: float
    """From the first ListenV2 that was accepted to the first waiting task on it."""


async def _listen_until_task(connection: Connection, worker_id: str) -> float:
    """Reopen the session until it stays; seconds from that opening to its first task."""
    while True:
        opened = time.perf_counter()
        call = connection.listen(worker_id)
        try:
            await asyncio.gather(connection.heartbeat(worker_id), return_exceptions=True)
            async for raw in call:
                action = dispatcher.AssignedAction.FromString(raw)
                if action.action_type == dispatcher.START_STEP_RUN:
                    return time.perf_counter() - opened
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION):
                raise
        await asyncio.sleep(0.05)


async def measure(engine: Engine) -> Restart:
    """Trigger tasks that nobody works on, kill, start, listen with a fresh worker."""
    connection = Connection(engine.client)
    await connection.put_workflow("bench-restart", "bench:restart")
    request = bulk_request(WAITING, workflow="bench-restart")
    await connection.trigger_many(request)
    await connection.close()
    await engine.kill()
    began = time.perf_counter()
    await engine.start()
    ready = time.perf_counter() - began
    connection = Connection(engine.client)
    worker_id = await connection.register(WAITING, action="bench:restart")
    try:
        async with asyncio.timeout(120):
            first = await _listen_until_task(connection, worker_id)
    finally:
        await connection.close()
    return Restart(ready, first)
