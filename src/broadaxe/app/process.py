"""One process: the engine, the API server or both, from start to a clean stop.

Start: telemetry, database, health port, engine (waits for the lease), then the ports that take traffic.
Stop: not ready, serves on until balancers have noticed, clients are sent elsewhere, engine drains, streams
end, lease goes to the next process, database, telemetry last.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from broadaxe.app.collection import settle_collector
from broadaxe.app.engine import EnginePart
from broadaxe.app.rest import RestPart
from broadaxe.app.shared import Shared, build_shared
from broadaxe.app.telemetry import set_up_logs
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.config.errors import SettingsError
from broadaxe.config.loader import Loaded
from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.grpc_api.transport import BindFailed
from broadaxe.store.checks import check_server
from broadaxe.store.migrate import schema_problem

log = logging.getLogger("broadaxe.process")

FLUSH_DEADLINE = 5.0
"""Seconds that telemetry may take to send what is waiting at the stop."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What a process does."""

    engine: bool
    api: bool
    share_port: bool = True
    """Whether the next process of a rolling change may listen on the same gRPC port meanwhile."""

    @property
    def name(self) -> str:
        """For logs."""
        return "server" if self.engine and self.api else "engine" if self.engine else "api"


class StartFailed(BroadaxeError):
    """The process cannot start; the message says why in one line."""


class Process:
    """Builds the parts of one process and runs them until told to stop."""

    def __init__(self, loaded: Loaded, roles: Roles) -> None:
        self._loaded = loaded
        self._roles = roles
        self._parts = AsyncExitStack()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.engine: EnginePart | None = None
        self.rest: RestPart | None = None
        self.shared: Shared | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._unfit: str | None = None

    async def start(self) -> None:
        """Start everything; `SettingsError` or `StartFailed` when that cannot be. After either, `stop`."""
        settings = self._loaded.settings
        for warning in self._loaded.warnings:
            log.warning("%s", warning)
        shared = build_shared(settings, self._roles.name, SystemClock(), SystemIds())
        self.shared = shared
        try:
            if self._roles.engine:
                self.engine = EnginePart(shared, self._stop, share_port=self._roles.share_port)
            if self._roles.api:
                self.rest = RestPart(shared, self._stop, self.engine)
            await shared.telemetry.start()
            self._parts.push_async_callback(shared.telemetry.shutdown, FLUSH_DEADLINE)
            await shared.ledger.open()
            self._parts.push_async_callback(shared.ledger.close)
            if self.engine is not None:
                self._parts.push_async_callback(self.engine.stop)
                await self.engine.start()
            if self.rest is not None:
                await self.rest.start()
                # The REST port closes first, while what it needs is still there.
                self._parts.push_async_callback(self.rest.stop)
            self._beginning = asyncio.create_task(self._begin(shared), name="begin")
            self._parts.push_async_callback(self._end_beginning)
        except (BindFailed, OSError) as error:
            raise StartFailed(str(error)) from error

    async def _begin(self, shared: Shared) -> None:
        """Once the database is there: stop when it is not for this program, else let the engine begin."""
        while True:
            await shared.database.availability.wait()
            try:
                self._unfit = await schema_problem(shared.settings.database_dsn)
                facts = await check_server(shared.database)
                break
            except (Unavailable, OSError) as error:
                log.warning("the database's schema cannot be looked at yet: %s", error)
                await shared.database.pause(3)
        for problem in facts.problems:
            log.warning("%s", problem)
        if self._unfit is not None:
            self.ask_to_stop()
        elif self.engine is not None:
            self.engine.begin(self.ask_to_stop)

    async def _end_beginning(self) -> None:
        if self._beginning is not None and not self._beginning.done():
            self._beginning.cancel()
            await asyncio.wait([self._beginning])

    async def until_ready(self) -> None:
        """Wait until every part takes traffic, or the process is told to stop."""
        if self.engine is not None:
            opened = asyncio.ensure_future(self.engine.opened.wait())
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
            stopped.cancel()

    def ready_line(self) -> str:
        """`ready` and the addresses, as printed once on standard output."""
        parts = ["ready"]
        if self.engine is not None and self.engine.services.serves:
            parts.append(f"grpc={self.engine.grpc_address}")
        if self.rest is not None:
            parts.append(f"rest={self.rest.url}")
        if self.engine is not None and self.engine.health_address:
            parts.append(f"health={self.engine.health_address}")
        return " ".join(parts)

    def ask_to_stop(self) -> None:
        """Begin the stop; told again, do not wait for balancers any more."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    @property
    def failure(self) -> str | None:
        """Why the process stopped by itself, if it did."""
        if self._unfit is not None or self.engine is None:
            return self._unfit
        return self.engine.failure

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stop.is_set()

    async def until_stopped(self) -> None:
        """Wait for `ask_to_stop`."""
        await self._stop.wait()

    async def linger(self, seconds: float) -> None:
        """Serve on, told not ready, for so long or until `ask_to_stop` is called again."""
        if seconds and self.failure is None:
            log.info("not ready any more; serving on for %g s, or until the next signal", seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()

    async def stop(self) -> None:
        """Stop everything in order; never raises for what was already gone."""
        await self._parts.aclose()


async def serve(
    loaded: Loaded,
    roles: Roles,
    *,
    before: Callable[[Process], Awaitable[None]] | None = None,
) -> int:
    """Run a process until SIGTERM or SIGINT; the exit code.

    `before` runs once it is ready, before the line is printed.
    """
    set_up_logs(loaded.settings)
    process = Process(loaded, roles)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.ask_to_stop)
    try:
        await process.start()
        await process.until_ready()
        if not process.stopping:
            if before is not None:
                await before(process)
            settle_collector()
            print(process.ready_line(), flush=True)
            await process.until_stopped()
            await process.linger(loaded.settings.runtime.shutdown_wait)
    except SettingsError:
        await process.stop()
        raise
    except StartFailed as error:
        await process.stop()
        print(f"broadaxe: {error.message}", file=sys.stderr)
        return 1
    log.info("stopping")
    if not await _stopped_in_time(process, loaded.settings.runtime.shutdown_timeout):
        print("broadaxe: the stop took longer than SERVER_SHUTDOWN_TIMEOUT; given up", file=sys.stderr)
        return 1
    if process.failure is not None:
        print(f"broadaxe: {process.failure}", file=sys.stderr)
        return 1
    return 0


async def _stopped_in_time(process: Process, seconds: float) -> bool:
    """Stop everything; False when that takes longer, and what is left is cancelled with the event loop."""
    stop = asyncio.ensure_future(process.stop())
    done, _ = await asyncio.wait([stop], timeout=seconds)
    if not done:
        return False
    stop.result()
    return True
