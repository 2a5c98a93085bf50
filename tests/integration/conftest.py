"""A PostgreSQL server for the session, and ledgers on a migrated database of each test's own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from proxy import Proxy
from store_server import Cuttable, MakeLedger, Server, free_port, new_database, new_ledger

from broadaxe.clock import SystemIds
from broadaxe.store.migrate import migrate
from broadaxe.store.postgres_ledger import PostgresLedger


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("postgres"), free_port())
    server.init()
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def running(postgres: Server) -> Server:
    await postgres.start()
    return postgres


@pytest.fixture
async def dsn(running: Server) -> str:
    """A migrated database of this test's own."""
    url = await new_database(running)
    await migrate(url)
    return url


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
async def proxy(running: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of the server."""
    made = Proxy(running.port)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def cuttable(dsn: str, proxy: Proxy, make_ledger: MakeLedger) -> Cuttable:
    name = dsn.rpartition("/")[2]
    made = await make_ledger(f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}")
    await made.acquire_lease(SystemIds().uuid7())  # type: ignore[arg-type]
    return Cuttable(made, proxy, dsn)


@pytest.fixture(scope="module")
async def shared_dsn(running: Server) -> str:
    """A migrated database for tests that change nothing."""
    url = await new_database(running)
    await migrate(url)
    return url
