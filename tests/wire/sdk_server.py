"""A server under test and the official Python SDK's client for it."""

import base64
import json
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchet_sdk import ClientConfig, Hatchet, RunStatus
from hatchet_sdk.config import ClientTLSConfig

from broadaxe.testkit.conditions import until
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import own_ports

HERE = Path(__file__).resolve().parent


class Served:
    """`broadaxe dev` on a database of its own. It keeps its ports and token over restarts."""

    def __init__(self, folder: Path, database: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.env = {"DATABASE_URL": database, **(env or {})}
        self.process: ChildProcess | None = None
        self.workers: list[Worker] = []
        self.client_env: dict[str, str] = {}

    async def start(self, timeout: float = 60.0) -> None:
        """Start and wait until it is ready."""
        command = ("dev", "--data-dir", self.folder)
        # Not any free ones: while the server is away, somebody else could be given those.
        ports = () if self.client_env else own_ports()
        self.process = await ChildProcess.broadaxe(*command, *ports, env=self.env, name="server")
        await self.process.wait_line(r"^ready ", timeout)
        for line in (self.folder / "client.env").read_text().splitlines():
            name, sep, value = line.removeprefix("export ").partition("=")
            if sep and not line.startswith("#"):
                self.client_env[name] = value

    async def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM; the exit code. Workers that a test left behind end as well."""
        for worker in self.workers:
            if worker.process.running:
                worker.kill()
        return await self.stop_process(timeout)

    async def stop_process(self, timeout: float = 30.0) -> int:
        """SIGTERM to the server alone; the exit code."""
        assert self.process is not None
        return await self.process.stop(timeout)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def command(self, *arguments: str) -> str:
        """Run `broadaxe ARGUMENTS` with this server's database and keys; what it printed."""
        keys = self.folder / "keys"
        env = {
            **self.env,
            "SERVER_ENCRYPTION_MASTER_KEYSET_FILE": str(keys / "master.key"),
            "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE": str(keys / "private_ec256.key"),
            "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE": str(keys / "public_ec256.key"),
        }
        async with await ChildProcess.broadaxe(*arguments, env=env) as process:
            assert await process.wait(30) == 0, process.output()
            return process.output("out")

    @property
    def token(self) -> str:
        """The API token that `dev` made."""
        return self.client_env["HATCHET_CLIENT_TOKEN"]

    def client(self, **changes: Any) -> Hatchet:
        """An SDK client; `changes` are fields of its configuration."""
        settings: dict[str, Any] = {
            "token": self.token,
            "host_port": self.client_env["HATCHET_CLIENT_HOST_PORT"],
            "server_url": self.client_env["HATCHET_CLIENT_SERVER_URL"],
            "tls_config": ClientTLSConfig(strategy="none"),
            **changes,
        }
        return Hatchet(config=ClientConfig(**settings))

    async def worker(
        self,
        *workflows: str,
        gates: Path,
        name: str = "",
        slots: int = 100,
        labels: tuple[str, ...] = (),
        namespace: str = "",
    ) -> "Worker":
        """Start a worker process; its name is unique unless given."""
        name = name or f"worker-{uuid.uuid4().hex[:8]}"
        options = ["--slots", str(slots), *(f"--label={label}" for label in labels)]
        process = await ChildProcess.start(
            sys.executable,
            HERE / "sdk_worker.py",
            name,
            *options,
            *workflows,
            env={
                **self.client_env,
                "HATCHET_CLIENT_NAMESPACE": namespace,
                "GATES": str(gates),
                "PYTHONUNBUFFERED": "1",
                "PYTHONPATH": _path(),
            },
            name=name,
        )
        worker = Worker(process, namespace + name, self)
        self.workers.append(worker)
        return worker


async def has_status(hatchet: Hatchet, run_id: str, status: RunStatus, timeout: float = 30.0) -> Any:
    """Wait until a run has a status; its details."""

    async def details() -> Any:
        found = await hatchet.runs.aio_get_details(run_id)
        return found if found.status == status else None

    return await until(details, f"run {run_id} is {status}", timeout, period=0.05)


def offline_token() -> str:
    """A token that the SDK can read and no server accepts, for declaring workflows without one."""
    claims = {
        "sub": str(uuid.UUID(int=0)),
        "server_url": "http://offline",
        "grpc_broadcast_address": "offline:1",
    }
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJh.{body}.none"


class Worker:
    """A worker process."""

    def __init__(self, process: ChildProcess, name: str, served: Served) -> None:
        self.process = process
        self.name = name
        self._served = served

    async def ready(self, timeout: float = 60.0) -> str:
        """Wait until the server lists it as active; its id."""
        client = self._served.client()

        async def listed() -> str | None:
            rows = (await client.workers.aio_list()).rows or []
            found = [row for row in rows if row.name == self.name and row.status == "ACTIVE"]
            return found[0].metadata.id if found else None

        return await until(listed, f"{self.name} is active", timeout, period=0.1)

    def kill(self) -> None:
        """SIGKILL to all its processes: the SDK's worker has a child that would go on with the heartbeats."""
        os.killpg(self.process.pid, 9)

    async def stop(self) -> int:
        """SIGTERM, as an operator would; SIGKILL after a while."""
        return await self.process.stop()


def _path() -> str:
    return os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
