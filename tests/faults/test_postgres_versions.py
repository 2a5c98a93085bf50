"""PostgreSQL 15 to 18: the engine's main job, a kill -9 in the middle of it, and the doctor's opinion."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broadaxe.app.doctor.examination import examine
from broadaxe.app.doctor.findings import Area, Level
from broadaxe.config.loader import load_settings
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.database import FAST
from broadaxe.testkit.invariants import History, verify
from tests.faults.cluster import Cluster, running
from tests.faults.wire import Client, RawWorker
from tests.judges import NotHere
from tests.postgres_versions import MAJORS, programs

FLOW = "versions"


@pytest.fixture(params=MAJORS, scope="module")
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[int, EmbeddedPostgres]]:
    """A server of each version; skips, with the reason, where it is not here."""
    try:
        bindir = programs(request.param)
    except NotHere as reason:
        pytest.skip(str(reason))
    one = EmbeddedPostgres(tmp_path_factory.mktemp("version") / "pg", bindir, overrides=FAST)
    await one.start()
    yield request.param, one
    await one.stop()


async def work(cluster: Cluster, history: History) -> None:
    """Thirty runs, with a kill -9 after the first results."""
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, history) as client:
        await client.put_workflow(FLOW, retries=2)
        worker = await RawWorker.register(client, "one", FLOW, slots=5)
        async with worker:
            await client.trigger_many(FLOW, 30)
            await worker.wait(lambda: len(worker.got) >= 5, "five tasks")
            held = list(worker.got)
            for got in held[:3]:
                await worker.complete(got)
            await cluster.kill(engine)
            await cluster.start()
            worker.auto = worker.complete
            for got in held[3:]:
                await worker.complete(got)
            await cluster.until_settled()
    await verify(cluster.dsn, history)


async def test_main_job_survives_a_kill(server: tuple[int, EmbeddedPostgres], tmp_path: Path) -> None:
    major, postgres = server
    history = History()
    async with running(postgres.dsn, tmp_path / "cluster") as cluster:
        version = str(await cluster.value("SHOW server_version"))
        assert version.startswith(f"{major}.")
        await work(cluster, history)
        assert len(history.triggered) == 30
        loaded = load_settings(cluster.env)
        findings = await examine(loaded, 1.0, [Area.DATABASE])
        assert [one for one in findings if one.level is not Level.OK] == []
        assert any(f"PostgreSQL {major}." in one.text for one in findings)
