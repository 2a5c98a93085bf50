"""A database, its keys and token, and engine processes on fixed ports that a test starts and kills."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import asyncpg
import httpx

from broadaxe.app import admin
from broadaxe.auth.keys import ensure_key_files
from broadaxe.clock import SystemIds
from broadaxe.config.loader import load_settings
from broadaxe.domain.ids import TenantId
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import keep_states
from broadaxe.testkit.ports import free_port, free_ports
from broadaxe.testkit.process import ChildProcess
from tests.faults.figures import samples

READY = r"^ready "
OWNS = "owns the scheduling"


@dataclass
class Cluster:
    """One database and the addresses of whoever serves it."""

    dsn: str
    """Past any proxy."""
    grpc_port: int
    rest_port: int
    health_port: int
    metrics_port: int
    token: str
    tenant_id: TenantId
    env: dict[str, str]
    """Settings of the engine processes."""
    processes: list[ChildProcess] = field(default_factory=list)

    @staticmethod
    async def prepare(dsn: str, folder: Path, **env: str) -> "Cluster":
        """Migrate, seed, make keys and a token. `env`: more settings for the engine processes."""
        folder.mkdir(parents=True, exist_ok=True)
        keys = await asyncio.to_thread(ensure_key_files, folder / "keys", SystemIds())
        grpc_port, rest_port, health_port, metrics_port = free_ports(4)
        settings = {
            "DATABASE_URL": dsn,
            "SERVER_GRPC_INSECURE": "true",
            "SERVER_GRPC_BIND_ADDRESS": "127.0.0.1",
            "SERVER_GRPC_PORT": str(grpc_port),
            "SERVER_GRPC_BROADCAST_ADDRESS": f"127.0.0.1:{grpc_port}",
            "SERVER_GRPC_RATE_LIMIT": "100000",
            # One lease row for the tests of one engine; those of several say how many they want.
            "SERVER_TENANT_PARTITIONS": "1",
            "SERVER_BIND_ADDRESS": "127.0.0.1",
            "SERVER_PORT": str(rest_port),
            "SERVER_URL": f"http://127.0.0.1:{rest_port}",
            "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
            "SERVER_HEALTHCHECK_PORT": str(health_port),
            "SERVER_PROMETHEUS_ENABLED": "true",
            "SERVER_PROMETHEUS_ADDRESS": f"127.0.0.1:{metrics_port}",
            "SERVER_LOGGER_LEVEL": "info",
            "SERVER_ENCRYPTION_MASTER_KEYSET_FILE": keys.master_keyset_file,
            "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE": keys.jwt_private_keyset_file,
            "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE": keys.jwt_public_keyset_file,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        loaded = load_settings(settings).settings
        await admin.migrate(loaded)
        tenant_id = await admin.seed(loaded)
        made = await admin.create_token(loaded, None, "faults", timedelta(days=1))
        await keep_states(dsn)
        return Cluster(
            dsn, grpc_port, rest_port, health_port, metrics_port, made.token, tenant_id, settings | env
        )

    @property
    def address(self) -> str:
        """Of the gRPC port."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def client_env(self) -> dict[str, str]:
        """What an SDK needs."""
        return {
            "HATCHET_CLIENT_TOKEN": self.token,
            "HATCHET_CLIENT_HOST_PORT": self.address,
            "HATCHET_CLIENT_TLS_STRATEGY": "none",
            "HATCHET_CLIENT_SERVER_URL": f"http://127.0.0.1:{self.rest_port}",
        }

    async def launch(self, role: str = "engine", **env: str) -> ChildProcess:
        """Start a process; returns at once. Only `server` has the REST port."""
        process = await ChildProcess.broadaxe(role, env={**self.env, **env})
        self.processes.append(process)
        return process

    async def start(self, role: str = "engine", timeout: float = 30.0, **env: str) -> ChildProcess:
        """Start a process and wait until it is ready."""
        process = await self.launch(role, **env)
        await process.wait_line(READY, timeout)
        return process

    async def kill(self, process: ChildProcess) -> None:
        """kill -9, and wait until it is gone."""
        process.kill()
        await process.wait(30.0)

    async def end(self) -> None:
        """Stop whatever still runs."""
        for process in self.processes:
            await process.stop(10.0)

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """One statement, past any proxy."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def execute(self, script: str) -> None:
        """Any statements, past any proxy."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    async def value(self, query: str, *args: object) -> object:
        """The first column of the first row."""
        return (await self.fetch(query, *args))[0][0]

    async def until_value(self, query: str, wanted: object, timeout: float = 30.0, *args: object) -> None:
        """Wait until the statement's first value is this."""

        async def same() -> bool:
            return bool(await self.value(query, *args) == wanted)

        await until(same, f"{query} = {wanted}", timeout, period=0.05)

    async def until_settled(self, timeout: float = 60.0) -> None:
        """Wait until every task is final."""
        try:
            await self.until_value("SELECT count(*) FROM task WHERE state < 10", 0, timeout)
        except AssertionError as error:
            stuck = await self.fetch(
                "SELECT id, state, attempt, worker_id, started_at, timeout_at"
                " FROM task WHERE state < 10 LIMIT 8"
            )
            tails = "\n".join(process.output("err")[-3000:] for process in self.processes[-2:])
            raise AssertionError(f"{error}; still live: {stuck}\n{tails}") from None

    async def metrics(self) -> dict[str, float]:
        """The samples of the Prometheus page, by name with labels."""
        return await samples(self.metrics_port)

    async def health(self, path: str) -> int:
        """The status of a page of the health port."""
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self.health_port}{path}")).status_code

    async def listed(self) -> dict[UUID, str]:
        """Every run and its status as the REST list tells them, page by page."""
        headers = {"authorization": f"Bearer {self.token}"}
        url = f"http://127.0.0.1:{self.rest_port}/api/v1/stable/tenants/{self.tenant_id}/workflow-runs"
        found: dict[UUID, str] = {}
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                query: dict[str, str | int] = {
                    "since": "2000-01-01T00:00:00Z", "only_tasks": "false", "limit": 500,
                    "offset": len(found), "include_payloads": "false",
                }  # fmt: skip
                page = await client.get(url, params=query, headers=headers)
                assert page.status_code == 200, page.text
                rows = page.json()["rows"]
                found |= {UUID(row["metadata"]["id"]): row["status"] for row in rows}
                if len(rows) < 500:
                    return found


@asynccontextmanager
async def running(dsn: str, folder: Path, **env: str) -> AsyncIterator[Cluster]:
    """A prepared cluster whose processes are stopped at the end."""
    cluster = await Cluster.prepare(dsn, folder, **env)
    try:
        yield cluster
    finally:
        await cluster.end()


def own_ports() -> list[str]:
    """Options that give `broadaxe dev` ports which stay free while it is away.

    Those that the system picks for a 0 may be given to others meanwhile.
    """
    options = ("--grpc-port", "--port", "--health-port")
    return [word for option in options for word in (option, str(free_port()))]


def socket_of(server: EmbeddedPostgres) -> Path:
    """The unix socket that a proxy forwards to."""
    folder = server.dsn.partition("?host=")[2]
    return Path(unquote(folder)) / ".s.PGSQL.5432"


def through(dsn: str, port: int) -> str:
    """The same database by way of a proxy on loopback."""
    user, _, rest = dsn.partition("@/")
    return f"{user}@127.0.0.1:{port}/{rest.partition('?')[0]}"
