"""The real pgbouncer in transaction mode, in front of a test's PostgreSQL."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.store.embedded.identity import Identity
from broadaxe.testkit.conditions import until
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.proxy import FaultProxy
from tests.faults.cluster import socket_of

SERVER_CONNECTIONS = 3
"""Few, so that every client meets sessions that others used before."""


class Pgbouncer:
    """One that can be ended and started again on the same port."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def through(self, dsn: str) -> str:
        """The same database by way of it."""
        user, _, rest = dsn.partition("@/")
        return f"{user}@127.0.0.1:{self.port}/{rest.partition('?')[0]}"

    def log(self) -> str:
        """What it said."""
        return (self._folder / "log").read_text()

    def _spawn(self) -> None:
        # It refuses to run as root. Not Popen's `user`: that forks, which gRPC's threads do not survive.
        nobody = pwd.getpwnam("nobody")
        root = os.geteuid() == 0
        identity = (
            Identity("drop", nobody.pw_uid, nobody.pw_gid)
            if root
            else Identity("plain", os.geteuid(), os.getegid())
        )
        command = identity.command(
            [self._program, str(self._folder / "pgbouncer.ini")], at_end=signal.SIGKILL
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self._spawn()

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listens, "pgbouncer listens", timeout=20)

    def end(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def pgbouncer(server: EmbeddedPostgres) -> AsyncIterator[Pgbouncer]:
    """In front of this server; skips, with the reason, where the program is missing."""
    program = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if program is None:
        pytest.skip("pgbouncer is not here: Debian's package `pgbouncer` brings it")
    proxy = FaultProxy(socket_of(server))
    await proxy.start()
    port = free_port()
    # Not pytest's folder: another user, which it runs as, may not enter that.
    with tempfile.TemporaryDirectory(prefix="broadaxe-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text('"broadaxe" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={proxy.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users.txt'}\npool_mode = transaction\n"
            f"default_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 200\n"
        )
        one = Pgbouncer(program, folder, port)
        try:
            await one.start()
            yield one
        finally:
            one.end()
            await proxy.stop()
