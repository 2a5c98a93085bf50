"""`python -m bench.events`: an event that starts 1,000 runs, bulks of 1,000 events; an engine of its own.

Prints one JSON object: milliseconds from the call to its answer, and what the database did meanwhile.
"""

import asyncio
import json
import shutil
import sys
import time
from typing import Any

import grpc.aio

from bench.engine import Engine, fresh_directory
from bench.watch import Watch
from broadaxe.grpc_api.wire import events_pb2 as ev
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1

FLOWS = 1_000
BULK = 1_000
ROUNDS = 5
OPTIONS = (("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20))


class Client:
    """Calls of one tenant."""

    def __init__(self, env: dict[str, str]) -> None:
        self._channel = grpc.aio.insecure_channel(env["HATCHET_CLIENT_HOST_PORT"], options=OPTIONS)
        self._metadata = (("authorization", f"bearer {env['HATCHET_CLIENT_TOKEN']}"),)

    async def call(self, method: str, request: Any, reply: Any) -> Any:
        """One call."""
        unary = self._channel.unary_unary(method, None, None)
        return reply.FromString(await unary(request.SerializeToString(), timeout=60, metadata=self._metadata))

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


async def register(client: Client, name: str, key: str, filters: int = 0) -> None:
    """A workflow of one task that asks for a key."""
    task = v1.CreateTaskOpts(readable_id="step", action=f"{name}:step", timeout="60s", inputs="{}")
    declared = [v1.DefaultFilter(expression=f"input.n >= {at}", scope="s") for at in range(filters)]
    request = v1.CreateWorkflowVersionRequest(
        name=name, tasks=[task], event_triggers=[key], default_filters=declared
    )
    await client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)


async def timed(watch: Watch, rounds: int, call: Any) -> dict[str, float]:
    """The median call, and statements and WAL a call."""
    took = []
    before = await watch.begin()
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1000)
    spent = (await watch.end()).since(before)
    figures = {"p50_ms": sorted(took)[rounds // 2], "worst_ms": max(took)}
    return {**figures, **{f"{name}_a_call": value / rounds for name, value in spent.items()}}


async def main() -> None:
    """Measure and print."""
    folder = fresh_directory()
    engine = Engine(folder, {})
    await engine.start()
    client = Client(engine.client)
    try:
        for at in range(FLOWS):
            await register(client, f"fan-{at}", "fan")
        await register(client, "bulk", "bulk:*")
        await register(client, "picky", "picky", filters=FLOWS)
        watch = Watch(engine.pid, engine.dsn)
        one = ev.PushEventRequest(key="fan", payload='{"n": 5}')
        picky = ev.PushEventRequest(key="picky", payload=json.dumps({"n": FLOWS}), scope="s")
        many = ev.BulkPushEventRequest(
            events=[ev.PushEventRequest(key=f"bulk:{n}", payload='{"n": 5}') for n in range(BULK)]
        )
        nobody = ev.BulkPushEventRequest(
            events=[ev.PushEventRequest(key=f"none:{n}", payload='{"n": 5}') for n in range(BULK)]
        )
        calls = {
            "fan_out_1000": lambda: client.call("/EventsService/Push", one, ev.Event),
            "filters_1000": lambda: client.call("/EventsService/Push", picky, ev.Event),
            "bulk_1000_with_runs": lambda: client.call("/EventsService/BulkPush", many, ev.Events),
            "bulk_1000_stored_only": lambda: client.call("/EventsService/BulkPush", nobody, ev.Events),
        }
        found = {}
        for name, call in calls.items():
            await call()
            found[name] = await timed(watch, ROUNDS, call)
            print(name, file=sys.stderr, flush=True)
        print(json.dumps(found, indent=1))
    finally:
        await client.close()
        await engine.stop()
        shutil.rmtree(folder.parent, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
