"""A load of real SDK workers and a stubborn client, to be disturbed by a test."""

import asyncio
import itertools
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import Cluster
from tests.faults.sdk_worker import WORKFLOW
from tests.faults.wire import Client, Refused, patiently


@dataclass(frozen=True)
class Program:
    """A worker that does what `sdk_worker` does, in whatever language."""

    command: tuple[str | Path, ...]
    env: dict[str, str] = field(default_factory=dict)


PYTHON = Program((sys.executable, Path(__file__).with_name("sdk_worker.py")))
CANCELLED_ONE_IN = 25
FAILS_ONE_IN = 7
LONG_ONE_IN = 5
AT_ONCE = 8


class Storm:
    """Triggers runs, cancels some, and knows how far things are."""

    def __init__(self, cluster: Cluster, folder: Path, seed: int, program: Program = PYTHON) -> None:
        self.cluster = cluster
        self._program = program
        self.history = History()
        self.random = random.Random(seed)
        self.notes = folder / "notes.jsonl"
        self.notes.touch()
        self.workers: dict[int, ChildProcess] = {}
        self.refusals = 0
        self.address = cluster.address
        """Where the workers find the engine; put a proxy's here before they start."""
        self._folder = folder
        self._names = itertools.count()
        self._keepers: list[asyncio.Task[None]] = []
        self._ending = False

    async def start_workers(self, count: int, slots: int = 8, running: int | None = None) -> None:
        """Start SDK workers at `address`, each started again when it ends, and wait until they listen.
        `running`: how many listen then, those of before included."""
        for _ in range(count):
            self._keepers.append(asyncio.create_task(self._keep(next(self._names), slots, self.address)))
        listening = "SELECT count(*) FROM worker WHERE listening_since IS NOT NULL"
        await self.cluster.until_value(listening, count if running is None else running, 40.0)

    async def _keep(self, number: int, slots: int, address: str) -> None:
        """As a supervisor does: an SDK's worker gives up when it finds no server at its start."""
        env = {
            **self.cluster.client_env,
            "HATCHET_CLIENT_HOST_PORT": address,
            "NOTES": str(self.notes),
            "WORKER_NAME": f"storm-{number}",
            "SLOTS": str(slots),
            "PYTHONUNBUFFERED": "1",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            **self._program.env,
        }
        while not self._ending:
            worker = await ChildProcess.start(
                *self._program.command, env=env, name=f"worker {number}", cwd=self._folder
            )
            self.workers[number] = worker
            await worker.wait(3_600.0)

    async def stop_workers(self) -> None:
        """SIGKILL: they have nothing to say any more."""
        self._ending = True
        for worker in self.workers.values():
            worker.kill_group()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._keepers)

    def progress(self) -> int:
        """Grows with everything that happens: answered triggers and started tasks."""
        return len(self.history.triggered) + self._noted()

    def _noted(self) -> int:
        return self.notes.read_bytes().count(b"\n")

    async def moved(self, by: int, timeout: float = 30.0) -> None:
        """Wait until so much more happened."""
        wanted = self.progress() + by
        await until(lambda: self.progress() >= wanted, f"{by} more events", timeout, period=0.005)

    async def trigger(self, client: Client, count: int, pace: asyncio.Semaphore | None = None) -> None:
        """Trigger so many runs, each until it is acknowledged, and cancel some of them."""
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                if pace is not None:
                    await pace.acquire()
                await self._one(client, number)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    async def _one(self, client: Client, number: int) -> None:
        job: dict[str, object] = {"number": number}
        if self.random.randrange(FAILS_ONE_IN) == 0:
            job["fail_once"] = True
        if self.random.randrange(LONG_ONE_IN) == 0:
            job["seconds"] = round(self.random.uniform(0.1, 0.6), 2)

        async def trigger() -> UUID:
            try:
                return await client.trigger(WORKFLOW, **job)
            except Refused:
                self.refusals += 1
                raise

        run_id = await patiently(trigger, 120.0)
        if self.random.randrange(CANCELLED_ONE_IN) == 0:
            await patiently(lambda: client.cancel(run_id), 120.0)

    def read_notes(self) -> None:
        """Take what the workers noted into the history."""
        for line in self.notes.read_text().splitlines():
            fields = json.loads(line)
            self.history.starts.append((UUID(fields["task"]), fields["attempt"], fields["worker"]))


def release(pace: asyncio.Semaphore, count: int) -> None:
    """Let so many more triggers be sent."""
    for _ in range(count):
        pace.release()


@asynccontextmanager
async def storm(cluster: Cluster, folder: Path, seed: int, program: Program = PYTHON) -> AsyncIterator[Storm]:
    """A storm whose workers are gone at the end."""
    made = Storm(cluster, folder, seed, program)
    try:
        yield made
    finally:
        await made.stop_workers()
