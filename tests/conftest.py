"""What every test may use: one embedded PostgreSQL a run, and a fresh migrated database a test.

Nothing is started until a test asks for it. The server waits for no disk; a test that kills or measures
PostgreSQL starts an `EmbeddedPostgres` of its own.
"""

from collections.abc import AsyncIterator

import pytest

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.database import Databases, fast_server


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
