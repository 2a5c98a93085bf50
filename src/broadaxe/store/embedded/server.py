"""An embedded PostgreSQL from its first start to its stop."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import asyncpg

from broadaxe.clock import Clock, SystemClock
from broadaxe.store.embedded.configuration import settings
from broadaxe.store.embedded.directory import Directory
from broadaxe.store.embedded.ending import ended
from broadaxe.store.embedded.errors import EmbeddedPostgresError
from broadaxe.store.embedded.identity import Identity
from broadaxe.store.embedded.programs import Programs, choose, reason

USER = "broadaxe"
"""The superuser; let in without a password, over the socket in a folder that only we may enter."""
DATABASE = "postgres"
"""The database that initdb makes; there is no need for another."""

START_TIMEOUT = 300.0
"""Seconds for a start; replaying a long log takes its time."""
STOP_TIMEOUT = 30.0
"""Seconds for a stop before it is made the hard way (the next start then replays the log)."""
_PAUSE = (1.0, 30.0)
"""Seconds before a start that failed is tried again: at first, at most."""
_LOG_PERIOD = 10.0
_NOT_YET = (OSError, TimeoutError, asyncpg.OperatorInterventionError, asyncpg.ConnectionDoesNotExistError)
"""Starting, recovering, going down, or not listening."""
_log = logging.getLogger("broadaxe.store.embedded")


class EmbeddedPostgres:
    """One PostgreSQL in one directory.

    Its life is tied to the thread that starts it (the main one, as a rule): when that ends, however it ends,
    PostgreSQL shuts down in order.
    """

    def __init__(
        self,
        data_dir: Path | str,
        bindir: Path | str | None = None,
        *,
        overrides: Mapping[str, str] | None = None,
        identities: Sequence[Identity] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`data_dir` is this server's own folder and made when missing.

        `overrides` are PostgreSQL settings that replace ours; `identities` the ways to run it, tried in
        order (the machine's own when None).
        """
        self._directory = Directory(Path(data_dir))
        self._bindir = None if bindir is None else Path(bindir)
        self._overrides = dict(overrides or {})
        self._identities = identities
        self._clock = clock or SystemClock()
        self._programs: Programs | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._socket_dir = self._directory.run

    @property
    def dsn(self) -> str:
        """A URL to the database; the same before and after a restart."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """A URL to another database of this server."""
        port = self._overrides.get("port")
        place = f"host={quote(str(self._socket_dir))}" + (f"&port={port}" if port else "")
        return f"postgresql://{USER}@/{quote(database)}?{place}"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def programs(self) -> Programs | None:
        """Version, folder and way of running, once it was started."""
        return self._programs

    async def start(self) -> str:
        """Make the database at the first start, recover it after a crash; the URL once it takes connections.

        Raises EmbeddedPostgresError: no programs, no permission, no space, another major version, in use.
        """
        if self._process is not None:
            return self.dsn
        programs = await asyncio.to_thread(self._enter)
        try:
            await self._wait_for_residents()
            await asyncio.to_thread(programs.make_database_files, self._directory, USER)
            await self._launch(programs)
        except BaseException:
            await self._leave()
            raise
        self._programs = programs
        self._watch = asyncio.create_task(self._keep_running(programs), name="embedded-postgres")
        return self.dsn

    async def stop(self) -> None:
        """Fast shutdown: transactions under way are rolled back, everything committed is on disk."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await self._leave()

    def _enter(self) -> Programs:
        """Lock the directory, then settle which programs run as whom."""
        self._directory.prepare()
        self._directory.acquire()
        try:
            return choose(self._directory, self._bindir, self._identities)
        except BaseException:
            self._directory.release()
            raise

    async def _leave(self) -> None:
        await self._end_process()
        self._directory.drop_socket_dir(self._socket_dir)
        self._directory.release()

    async def _wait_for_residents(self) -> None:
        """A server whose parent was killed is about to end: wait for it rather than fight it."""
        end = self._clock.monotonic() + STOP_TIMEOUT
        while residents := self._directory.residents():
            if self._clock.monotonic() > end:
                raise EmbeddedPostgresError(
                    f"process {residents[0]} still runs PostgreSQL on {self._directory.data}; stop it first"
                )
            await asyncio.sleep(0.02)
        self._directory.forget_dead_server()

    async def _launch(self, programs: Programs) -> None:
        """Start the server and wait until it takes connections."""
        directory = self._directory
        self._socket_dir = directory.socket_dir(programs.identity.owner)
        chosen = settings(programs.version.major, programs.bindir, self._socket_dir) | self._overrides
        directory.bound_log()
        with directory.open_log() as log:
            since = os.fstat(log.fileno()).st_size
            process = self._process = programs.start_server(directory, chosen, log.fileno())
        end = self._clock.monotonic() + START_TIMEOUT
        while not await self._takes_connections():
            if process.poll() is not None:
                why = reason(directory.log_tail(since))
                raise EmbeddedPostgresError(f"PostgreSQL did not start on {directory.root}: {why}")
            if self._clock.monotonic() > end:
                raise EmbeddedPostgresError(
                    f"PostgreSQL was not ready after {START_TIMEOUT:.0f} s; see {directory.log}"
                )
            await asyncio.sleep(0.01)

    async def _takes_connections(self) -> bool:
        try:
            connection = await asyncpg.connect(self.dsn, timeout=10)
        except _NOT_YET:
            return False
        except asyncpg.TooManyConnectionsError:
            return True  # it does, and others were quicker
        await connection.close()
        return True

    async def _keep_running(self, programs: Programs) -> None:
        """Start the server again when it was killed; keep its log within bounds."""
        pause = _PAUSE[0]
        while True:
            if self._process is not None:
                await ended(self._process, _LOG_PERIOD)
            self._directory.bound_log()
            if self.pid is not None:
                continue
            _log.error("the embedded PostgreSQL was ended from outside; starting it again")
            try:
                await self._wait_for_residents()
                await self._launch(programs)
                pause = _PAUSE[0]
            except (EmbeddedPostgresError, OSError, asyncpg.PostgresError) as error:
                _log.error("the embedded PostgreSQL does not start: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE[1])

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, STOP_TIMEOUT)
        if process.returncode != 0:
            _log.warning("the embedded PostgreSQL ended with code %s", process.returncode)
