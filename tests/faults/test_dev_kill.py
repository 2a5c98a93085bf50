"""kill -9 of `broadaxe dev`: its PostgreSQL ends with it, and the next start goes on where it was."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.clock import SystemClock
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History, keep_states, verify
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.usage import alive, find_below
from tests.faults.cluster import READY, own_ports
from tests.faults.wire import Client, RawWorker

FLOW = "dev"
clock = SystemClock()


async def start(data: Path, *ports: str) -> tuple[ChildProcess, str]:
    """`broadaxe dev` and its ready line; without ports it takes those of its last start."""
    clean = {"DATABASE_URL": "", "SERVER_GRPC_PORT": "", "SERVER_PORT": ""}
    process = await ChildProcess.broadaxe("dev", "--data-dir", data, *ports, env=clean)
    return process, await process.wait_line(READY, 60.0)


def client_env(data: Path) -> dict[str, str]:
    """What `client.env` exports."""
    lines = (data / "client.env").read_text().splitlines()
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
    return {name: value for name, _, value in pairs}


def database_of(data: Path) -> str:
    """The URL of its database while that runs."""
    # As PostgreSQL itself tells it: a long path of the test run has the socket elsewhere.
    folder = (data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[4]
    return f"postgresql://broadaxe@/postgres?host={folder}"


@pytest.mark.slow
async def test_dev_killed_postgres_ends_and_the_next_start_has_ports_token_and_all_runs(
    tmp_path: Path,
) -> None:
    data = tmp_path / "d"
    history = History()
    process, ready = await start(data, *own_ports())
    try:
        env = client_env(data)
        await keep_states(database_of(data))
        address, token = env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"]
        async with Client(address, token, history) as client:
            await client.put_workflow(FLOW, retries=2)
            worker = await RawWorker.register(client, "one", FLOW, slots=5)
            async with worker:
                runs = await client.trigger_many(FLOW, 40)
                await worker.wait(lambda: len(worker.got) >= 5, "five tasks")
                for got in worker.got[:3]:
                    await worker.complete(got)
                held = worker.got[3:]
                postgres = find_below(process.pid, "postgres")
                assert postgres
                process.kill()
                await process.wait(10.0)
                await until(lambda: not any(alive(pid) for pid in postgres), "the end of PostgreSQL", 20.0)
                began = clock.monotonic()
                process, again = await start(data)
                print(f"dev was ready {clock.monotonic() - began:.2f} s after a kill -9")
                assert again == ready
                assert client_env(data) == env
                worker.auto = worker.complete
                for got in held:
                    await worker.complete(got)

                async def settled() -> bool:
                    details = [(await client.details(run)).done for run in runs]
                    return all(details)

                await until(settled, "the end of every run", 30.0, period=0.1)
                await verify(database_of(data), history)
    finally:
        assert await process.stop() == 0


@pytest.mark.slow
async def test_dev_killed_twice_in_a_row_starts_each_time(tmp_path: Path) -> None:
    data = tmp_path / "d"
    process, ready = await start(data, *own_ports())
    env = client_env(data)
    history = History()
    await keep_states(database_of(data))
    try:
        for _ in range(2):
            async with Client(
                env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"], history
            ) as client:
                await client.put_workflow(FLOW)
                await client.trigger(FLOW)
            process.kill()
            await process.wait(10.0)
            process, again = await start(data)
            assert again == ready
        async with Client(env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"], history) as client:
            for run_id in history.triggered:
                assert UUID(int=run_id.int) == run_id
                assert json.loads((await client.details(run_id)).input) == {}
        await verify(database_of(data), history, settled=False)
    finally:
        assert await process.stop() == 0
