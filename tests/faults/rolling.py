"""A rolling change of engines: the next one is ready, then the old one is told to go."""

from asyncpg import Record

from broadaxe.clock import SystemClock
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import OWNS, Cluster

DEADLINE = 10.0
"""Seconds within which an idle or busy engine ends after SIGTERM."""
clock = SystemClock()


async def ended(process: ChildProcess) -> float:
    """Wait for exit code 0; how long it took from the SIGTERM that this sends."""
    began = clock.monotonic()
    process.terminate()
    assert await process.wait(DEADLINE) == 0, process.output("err")[-2000:]
    return clock.monotonic() - began


async def next_engine(cluster: Cluster) -> ChildProcess:
    """Another engine on the same port, ready."""
    return await cluster.start(SERVER_HEALTHCHECK_PORT=str(free_port()), SERVER_PROMETHEUS_ENABLED="false")


async def change(old: ChildProcess, new: ChildProcess) -> None:
    """End the old engine, as a supervisor that leaves no gap does once the new one is ready, and wait until
    that schedules."""
    mark = new.mark
    gap = await ended(old)
    began = clock.monotonic()
    await new.wait_line(OWNS, 30.0, since=mark)
    print(f"drained in {gap:.2f} s, the next owned {clock.monotonic() - began:.2f} s later")


async def given_up(cluster: Cluster) -> list[Record]:
    """The attempts that cost their task another one, though the task itself did not fail."""
    return await cluster.fetch(
        "SELECT task_id, attempt, outcome, assigned_at, ended_at, error FROM attempt WHERE outcome <> 1"
    )
