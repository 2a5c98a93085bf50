"""Servers for the fault tests. A test that kills PostgreSQL starts one of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.database import Databases
from tests.conftest import SOAK
from tests.faults.cluster import Cluster, running, socket_of

soak = pytest.mark.skipif(not SOAK, reason="takes minutes: set BROADAXE_SOAK=1, or run `make soak`")

NewCluster = Callable[..., Awaitable[Cluster]]


@pytest.fixture
async def new_cluster(databases: Databases, tmp_path: Path) -> AsyncIterator[NewCluster]:
    """Prepares clusters on databases of their own; keyword arguments are settings of the engine."""
    async with AsyncExitStack() as stack:

        async def make(**env: str) -> Cluster:
            dsn = await databases.empty()
            stack.push_async_callback(databases.drop, dsn)
            return await stack.enter_async_context(running(dsn, tmp_path / "cluster", **env))

        yield make


@pytest.fixture(scope="module")
async def shared_cluster(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """One for all tests of a module, with an engine that none of them ends."""
    dsn = await databases.empty()
    async with running(dsn, tmp_path_factory.mktemp("shared") / "cluster") as made:
        await made.start()
        yield made
    await databases.drop(dsn)


@pytest.fixture
async def cluster(new_cluster: NewCluster) -> Cluster:
    """One with the default settings."""
    return await new_cluster()


@pytest.fixture(scope="session")
def database_socket(database_server: EmbeddedPostgres) -> Path:
    """Where a proxy in front of the test run's PostgreSQL forwards to."""
    return socket_of(database_server)
