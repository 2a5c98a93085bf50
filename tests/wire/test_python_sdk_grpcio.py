"""The official Python SDK against a server on grpcio; other tests with an SDK run on the lean transport."""

import asyncio
from pathlib import Path

from gates import Gates
from hatchet_sdk import EmptyModel
from sdk_models import Count, Text
from sdk_server import Served
from sdk_workflows import EVERYDAY, flat

from broadaxe.testkit.database import Databases


async def test_runs_bulks_and_a_stop_on_grpcio(databases: Databases, tmp_path: Path, gates: Gates) -> None:
    served = Served(tmp_path / "grpcio", await databases.empty(), {"SERVER_GRPC_TRANSPORT": "grpcio"})
    await served.start()
    worker = await served.worker(*EVERYDAY, gates=gates.path)
    await worker.ready()
    flows = flat(served.client())
    assert (await flows.echo.aio_run(EmptyModel(word="naïve 日本 💥")))["input"] == {"word": "naïve 日本 💥"}
    assert await asyncio.to_thread(flows.echo_sync.run, Text(text="shout")) == Text(text="SHOUT")
    items = [flows.counted.create_bulk_run_item(Count(count=number)) for number in range(100)]
    assert [result["count"] for result in await flows.counted.aio_run_many(items)] == list(range(100))
    await worker.stop()
    assert await served.stop() == 0
