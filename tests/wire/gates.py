"""Gates: points in a worker's task where it says that it arrived and waits until the test lets it pass.

A test thereby knows when a task runs, which attempt, and decides when it goes on; neither side sleeps.
The worker finds the socket in the environment variable GATES.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "GATES"
SEEN = "seen:"
"""Gates that begin so are always open: the task only says that it got there."""


@dataclass(frozen=True)
class Arrival:
    """A task at a gate, with what it said of itself."""

    gate: str
    run: str
    retry: int
    worker: str
    note: dict[str, Any] = field(default_factory=dict)


class Gates:
    """The test's side: sees arrivals, opens gates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrivals: list[Arrival] = []
        self._news = asyncio.Condition()
        self.opened: dict[str, str] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    @staticmethod
    @contextlib.asynccontextmanager
    async def serve(path: Path) -> AsyncIterator["Gates"]:
        """Listen while the block runs."""
        gates = Gates(path)
        server = await asyncio.start_unix_server(gates._serve, path=path)
        try:
            yield gates
        finally:
            server.close()
            for task in gates._waiting:
                task.cancel()
            await asyncio.gather(*gates._waiting, return_exceptions=True)

    async def wait(
        self, gate: str, count: int = 1, timeout: float = 30.0, where: Callable[[Arrival], bool] | None = None
    ) -> list[Arrival]:
        """Wait until so many tasks arrived at a gate (since the start); all that did, oldest first."""
        found: list[Arrival] = []
        try:
            async with asyncio.timeout(timeout), self._news:
                while True:
                    found = [one for one in self.arrivals if one.gate == gate and (not where or where(one))]
                    if len(found) >= count:
                        return found
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{len(found)} of {count} arrived at {gate} in {timeout:g} s") from None

    def at(self, gate: str) -> list[Arrival]:
        """Who arrived at a gate so far."""
        return [one for one in self.arrivals if one.gate == gate]

    async def open(self, gate: str, answer: str = "go") -> None:
        """Let everyone pass this gate from now on; the answer is what the task is told."""
        async with self._news:
            self.opened[gate] = answer
            self._news.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                said = json.loads(await reader.readline())
                arrival = Arrival(**said)
                async with self._news:
                    self.arrivals.append(arrival)
                    self._news.notify_all()
                    while not arrival.gate.startswith(SEEN) and arrival.gate not in self.opened:
                        await self._news.wait()
                writer.write(self.opened.get(arrival.gate, "").encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()
            self._waiting.discard(task)


def _hello(gate: str, run: str, retry: int, worker: str, note: dict[str, Any]) -> bytes:
    hello = {"gate": gate, "run": run, "retry": retry, "worker": worker, "note": note}
    return json.dumps(hello).encode() + b"\n"


async def pass_gate(gate: str, ctx: Any, **note: Any) -> str:
    """The worker's side, in an async task: arrive and wait; the test's answer."""
    reader, writer = await asyncio.open_unix_connection(os.environ[VARIABLE])
    try:
        writer.write(_hello(gate, ctx.workflow_run_id, ctx.retry_count, ctx.worker_id, note))
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


def pass_gate_sync(gate: str, ctx: Any, **note: Any) -> str:
    """The worker's side, in a sync task."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[VARIABLE])
        connection.sendall(_hello(gate, ctx.workflow_run_id, ctx.retry_count, ctx.worker_id, note))
        return connection.makefile().readline().strip()
