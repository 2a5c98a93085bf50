"""No room on PostgreSQL's disk: what was promised waits, what is new is refused, and then it goes on."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.invariants import History, verify
from tests.faults.cluster import Cluster, running
from tests.faults.wire import Client, Code, RawWorker, Refused

FLOW = "full"
FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION no_room();
"""


def mount(folder: Path, options: str) -> bool:
    """A file system of its own in memory; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> "AsyncIterator[Path]":
    """A folder with room for a megabyte or two."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not mount(folder, "size=2m"):
        pytest.skip("a small file system can only be made by root, where the container allows mounts")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def refused(client: Client, text: str) -> bool:
    """Whether a trigger is refused as during an outage."""
    try:
        await client.trigger(FLOW, text=text)
    except Refused as answer:
        if answer.code is not Code.UNAVAILABLE:
            raise
        return True
    return False


async def lives_on(cluster: Cluster, worker: RawWorker) -> None:
    """While there is no room: heartbeats are answered, the process lives."""
    beats = len(worker.beat_answers)
    await worker.wait(lambda: len(worker.beat_answers) >= beats + 2, "two more heartbeats")
    assert set(worker.beat_answers[beats:]) == {Code.OK}
    assert await cluster.health("/live") == 200


async def goes_on(cluster: Cluster, worker: RawWorker, client: Client) -> None:
    """There is room again: everything ends, and nothing was done twice."""
    await client.trigger_patiently(FLOW)
    await cluster.until_settled(40)
    assert worker.stream_ends == [], "the stream was cut by a full disk"
    assert await cluster.value("SELECT epoch FROM lease") == 1
    await verify(cluster.dsn, client.history)


async def test_full_disk_is_an_outage_until_there_is_room(cluster: Cluster) -> None:
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW, timeout="120s")
        async with await RawWorker.register(client, "one", FLOW, slots=20) as worker:
            await worker.start_of(await client.trigger(FLOW))
            mark = engine.mark
            await cluster.execute(FULL)
            report = asyncio.create_task(worker.complete(worker.got[0]))
            worker.auto = worker.complete
            assert await refused(client, "x")
            await lives_on(cluster, worker)
            assert not report.done()
            await engine.wait_line("database is away", since=mark)
            await cluster.execute("DROP TRIGGER no_room ON task")
            await report
            await goes_on(cluster, worker, client)
    assert engine.running


@pytest.mark.slow
async def test_disk_that_really_is_full(tmp_path: Path, small_disk: Path) -> None:
    """Tasks of today live on a file system of two megabytes, which fills up and is made larger."""
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    dsn = await postgres.start()
    assert postgres.programs is not None
    os.chown(small_disk, *postgres.programs.identity.owner)
    try:
        async with running(dsn, tmp_path / "cluster") as cluster:
            await cluster.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
            for (partition,) in await cluster.fetch(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'task'::regclass"
            ):
                await cluster.execute(f"ALTER TABLE {partition} SET TABLESPACE small")
            await cluster.start()
            async with Client(cluster.address, cluster.token, History()) as client:
                await client.put_workflow(FLOW, timeout="120s")
                async with await RawWorker.register(client, "one", FLOW, slots=1) as worker:
                    await worker.start_of(await client.trigger(FLOW))
                    # Text that does not compress, so that it takes its room.
                    while not await refused(client, os.urandom(30_000).hex()):
                        assert len(client.history.triggered) < 100
                    await lives_on(cluster, worker)
                    assert mount(small_disk, "remount,size=64m")
                    # First, since the next start may be here before the answer to the report.
                    worker.auto = worker.complete
                    await worker.complete(worker.got[0])
                    await goes_on(cluster, worker, client)
    finally:
        await postgres.stop()
