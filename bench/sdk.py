"""The official Python SDK as worker and as caller, for the figures a user feels.

`python -m bench.sdk worker` runs until it is ended; `python -m bench.sdk caller` prints one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import time

from hatchet_sdk import ClientConfig, Context, EmptyModel, Hatchet
from hatchet_sdk.clients.admin import TriggerWorkflowOptions

hatchet = Hatchet(config=ClientConfig())
CHILDREN = 100


@hatchet.task(name="bench-simple")
async def simple(_input: EmptyModel, _context: Context) -> dict[str, bool]:
    """Nothing."""
    return {"ok": True}


@hatchet.task(name="bench-parent", execution_timeout="60s")
async def parent(_input: EmptyModel, _context: Context) -> dict[str, int]:
    """A hundred children, gathered."""
    items = [
        simple.create_bulk_run_item(options=TriggerWorkflowOptions(key=str(number)))
        for number in range(CHILDREN)
    ]
    return {"children": len(await simple.aio_run_many(items))}


async def call(count: int) -> dict[str, object]:
    """Sequential runs, then a parent."""
    await simple.aio_run()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        await simple.aio_run()
        taken.append(time.perf_counter() - began)
    await parent.aio_run()
    began = time.perf_counter()
    await parent.aio_run()
    return {
        "run_and_wait_ms_p50": statistics.median(taken) * 1e3,
        "run_and_wait_ms_p95": sorted(taken)[int(len(taken) * 0.95)] * 1e3,
        "children_100_s": time.perf_counter() - began,
    }


def main() -> None:
    """The one or the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("worker", "caller"))
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    if options.role == "worker":
        hatchet.worker("bench-sdk", slots=200, workflows=[simple, parent]).start()
    else:
        print(json.dumps(asyncio.run(call(options.count))), flush=True)


if __name__ == "__main__":
    main()
