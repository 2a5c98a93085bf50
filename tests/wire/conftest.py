"""The server, worker and client that the SDK tests share. Nothing starts until a test asks for it."""

import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from gates import Gates
from hatchet_sdk import Hatchet
from sdk_server import Served, Worker
from sdk_workflows import EVERYDAY, flat
from toy_server import Chosen

from broadaxe.testkit.database import Databases


@pytest.fixture(scope="session")
async def gates(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gates]:
    """Where tasks of workers arrive and wait."""
    async with Gates.serve(tmp_path_factory.mktemp("gates") / "socket") as served:
        yield served


@pytest.fixture(params=["grpcio", "lean"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each transport in turn."""
    monkeypatch.setattr(Chosen, "name", request.param)
    return str(request.param)


_numbers = itertools.count(1)


@pytest.fixture
def gate() -> str:
    """The name of a gate of this test's own."""
    return f"gate-{next(_numbers)}"


@pytest.fixture(scope="session")
async def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The server of all tests that do not break it. Both processes share two cores with the tests, so a
    worker whose heartbeat is late keeps its work."""
    served = Served(
        tmp_path_factory.mktemp("server"),
        await databases.empty(),
        {"SERVER_WORKER_SILENT_AFTER": "20s", "CACHE_DURATION": "1s"},
    )
    await served.start()
    yield served
    assert await served.stop() == 0


@pytest.fixture(scope="session")
def hatchet(server: Served) -> Hatchet:
    """The SDK's client for it."""
    return server.client()


@pytest.fixture(scope="session")
def flows(hatchet: Hatchet) -> SimpleNamespace:
    """Every workflow by name, for running it."""
    return flat(hatchet)


@pytest.fixture(scope="session")
async def worker(server: Served, gates: Gates) -> AsyncIterator[Worker]:
    """The worker with everything but what needs a special one. One of its tasks is durable."""
    process = await server.worker(*EVERYDAY, gates=gates.path, name="main")
    await process.ready()
    yield process
    await process.stop()
