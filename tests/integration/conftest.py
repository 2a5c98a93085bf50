"""A PostgreSQL server for the session, and ledgers on a migrated database of each test's own."""

from collections.abc import AsyncIterator

import pytest
from store_server import MEASURED, Cuttable, MakeLedger, new_ledger

from broadaxe.clock import SystemIds
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.store.migrate import migrate
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.testkit.database import Databases
from broadaxe.testkit.proxy import FaultProxy
from tests.faults.cluster import socket_of, through


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A server that tests may stop, kill and measure."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "server", overrides=MEASURED)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def own_databases(postgres: EmbeddedPostgres) -> Databases:
    """Databases of that server."""
    return Databases(postgres, migrate)


@pytest.fixture
async def dsn(own_databases: Databases) -> str:
    """A migrated database of this test's own."""
    return await own_databases.migrated()


@pytest.fixture
async def make_ledger() -> AsyncIterator[MakeLedger]:
    """Opens ledgers that are closed after the test."""
    opened: list[PostgresLedger] = []

    async def make(dsn: str, **settings: object) -> PostgresLedger:
        ledger = new_ledger(dsn, **settings)
        opened.append(ledger)
        await ledger.open()
        return ledger

    yield make
    for ledger in opened:
        await ledger.close()


@pytest.fixture
async def ledger(dsn: str, make_ledger: MakeLedger) -> PostgresLedger:
    """A ledger that owns the lease."""
    made = await make_ledger(dsn)
    await made.acquire_lease(SystemIds().uuid7())  # type: ignore[arg-type]
    return made


@pytest.fixture
async def proxy(postgres: EmbeddedPostgres) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the server."""
    async with FaultProxy(socket_of(postgres)) as made:
        yield made


@pytest.fixture
def proxied(dsn: str, proxy: FaultProxy) -> str:
    """The URL of the test's database by way of the proxy."""
    return through(dsn, proxy.port)


@pytest.fixture
async def cuttable(dsn: str, proxied: str, proxy: FaultProxy, make_ledger: MakeLedger) -> Cuttable:
    made = await make_ledger(proxied)
    await made.acquire_lease(SystemIds().uuid7())  # type: ignore[arg-type]
    return Cuttable(made, proxy, dsn)


@pytest.fixture(scope="module")
async def shared_dsn(own_databases: Databases) -> str:
    """A migrated database for tests that change nothing."""
    return await own_databases.migrated()
