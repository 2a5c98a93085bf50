"""What every test may use: one embedded PostgreSQL a run, and a fresh migrated database a test.

Nothing is started until a test asks for it. The server waits for no disk; a test that kills or measures
PostgreSQL starts an `EmbeddedPostgres` of its own.

A verdict depends on the tree alone: what the shell of a run has set for servers and SDKs is taken away, and
Hypothesis tries the same examples each time, whatever time the machine takes. With `BROADAXE_SOAK=1` they are
new ones.
"""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.database import Databases, fast_server

SOAK = os.environ.get("BROADAXE_SOAK") == "1"
settings.register_profile(
    "same", deadline=None, derandomize=not SOAK, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

_NOT_OURS = ("SERVER_", "DATABASE_", "HATCHET_", "OTEL_", "K8S_", "PG")
for _name in [name for name in os.environ if name.startswith(_NOT_OURS)]:
    del os.environ[_name]
for _name in ("no_proxy", "NO_PROXY"):
    # What tests call is on this machine; packages may have to come through a proxy.
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1,localhost")))


@pytest.fixture(scope="session")
async def database_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """The PostgreSQL of this test run."""
    server = fast_server(tmp_path_factory.mktemp("database") / "postgres")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def databases(database_server: EmbeddedPostgres) -> Databases:
    """Hands out more than one database to a test."""
    from broadaxe.store.migrate import migrate  # only here, so that unit tests need no store

    return Databases(database_server, migrate)


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The URL of a migrated database of this test's own."""
    dsn = await databases.migrated()
    yield dsn
    await databases.drop(dsn)


@pytest.fixture
async def empty_database(databases: Databases) -> AsyncIterator[str]:
    """The URL of an empty database of this test's own."""
    dsn = await databases.empty()
    yield dsn
    await databases.drop(dsn)
