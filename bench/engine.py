"""How a measured engine is started: the one place that knows the command line."""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from bench.wire import read_client_env
from broadaxe.testkit.process import ChildProcess

READY_TIMEOUT = 60.0


class Engine:
    """`broadaxe dev` on a data directory, with any free ports."""

    def __init__(self, data_dir: Path, env: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self._env = {"SERVER_LOGGER_LEVEL": "warn", **env}
        self._child: ChildProcess | None = None

    async def start(self) -> None:
        """Start and wait for its `ready` line."""
        self._child = await ChildProcess.broadaxe(
            "dev",
            "--data-dir",
            self.data_dir,
            "--port",
            "0",
            "--grpc-port",
            "0",
            "--health-port",
            "0",
            env=self._env,
        )
        await self._child.wait_line(r"\bready\b", READY_TIMEOUT)

    async def stop(self) -> None:
        """SIGTERM and wait."""
        if self._child is not None:
            await self._child.stop(30)

    async def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            await self._child.wait(30)

    @property
    def pid(self) -> int:
        """Its process; PostgreSQL is below it."""
        return self._child.pid if self._child is not None else 0

    @property
    def client_env(self) -> Path:
        """The file with HATCHET_CLIENT_*."""
        return self.data_dir / "client.env"

    @property
    def client(self) -> dict[str, str]:
        """HATCHET_CLIENT_* by name."""
        return read_client_env(self.client_env)

    @property
    def dsn(self) -> str:
        """The database: DATABASE_URL when set, else the embedded one."""
        given = self._env.get("DATABASE_URL") or os.environ.get("DATABASE_URL")
        socket = self.data_dir / "postgres" / "run"
        return given or f"postgresql://broadaxe@/postgres?host={quote(str(socket))}"


def fresh_directory() -> Path:
    """A new data directory with a short path."""
    return Path(tempfile.mkdtemp(prefix="bxbench-")) / "d"


def tracing(target: str) -> dict[str, str]:
    """The settings that send every trace to a collector."""
    return {
        "SERVER_OTEL_COLLECTOR_URL": target,
        "SERVER_OTEL_INSECURE": "true",
        "SERVER_OTEL_TRACE_ID_RATIO": "1",
    }


async def start_program(
    module: str, *arguments: object, env: Mapping[str, str] | None = None
) -> ChildProcess:
    """Start `python -m module` with our import path."""
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, (str(root), str(root / "src"), os.environ.get("PYTHONPATH", ""))))
    return await ChildProcess.start(
        sys.executable,
        "-m",
        module,
        *map(str, arguments),
        env={**(env or {}), "PYTHONPATH": path},
        name=module,
    )


async def run_program(
    module: str, *arguments: object, env: Mapping[str, str] | None = None, timeout: float = 180.0
) -> dict[str, object]:
    """Run it to its end; the JSON object it prints."""
    async with await start_program(module, *arguments, env=env) as child:
        found = await child.wait_json(lambda _: True, timeout, what="result")
        await child.wait(30)
        return found
