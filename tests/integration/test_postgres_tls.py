"""The way to PostgreSQL over TLS: every `sslmode`, a private authority, client certificates."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from rows import engine, new_task

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.store.connection import Database
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.store.options import StoreOptions
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.statements import Statement, statement
from broadaxe.telemetry import names as T
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.process import ChildProcess

ACCESS = """
local all all trust
hostssl all guarded 127.0.0.0/8 trust clientcert=verify-ca
hostssl all broadaxe 127.0.0.0/8 trust
"""
IS_ENCRYPTED = Statement(
    "is_encrypted", "SELECT", "session", "", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    T.db_span("SELECT", "session"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Secured:
    """A PostgreSQL that takes TCP connections only over TLS."""

    port: int
    files: dict[str, Path]

    def url(self, mode: str, host: str = "127.0.0.1", user: str = "broadaxe", **more: str) -> str:
        """A URL with this `sslmode`; `more` names files by their parameter."""
        query = "".join(f"&{name}={quote(str(self.files[file]))}" for name, file in more.items())
        return f"postgresql://{user}@{host}:{self.port}/postgres?sslmode={mode}{query}"


def with_tls() -> Path | None:
    """The programs of the newest PostgreSQL of this machine that has TLS, where Debian puts them."""
    folders = Path("/usr/lib/postgresql").glob("*/bin/pg_config")
    for program in sorted(folders, key=lambda path: int(path.parts[-3]), reverse=True):
        built = subprocess.run([program, "--configure"], capture_output=True, text=True, check=False)
        if "openssl" in built.stdout:
            return program.parent
    return None


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    programs = with_tls()
    if programs is None:
        pytest.skip("no PostgreSQL of this machine has TLS, and the bundled one is built without")
    root = tmp_path_factory.mktemp("tls")
    files = Authority.make().write(root)
    (root / "other").mkdir()
    files["other.crt"] = Authority.make().write(root / "other")["ca.crt"]
    files["client.key"].chmod(0o600)
    port = free_port()
    plain = EmbeddedPostgres(root / "postgres", programs)
    admin = await asyncpg.connect(await plain.start())
    await admin.execute("CREATE ROLE guarded LOGIN")
    await admin.close()
    await plain.stop()
    data = root / "postgres" / "data"
    owner = data.stat()
    for name, text in (
        ("server.crt", files["server.crt"].read_bytes()),
        ("server.key", files["server.key"].read_bytes()),
        ("ca.crt", files["ca.crt"].read_bytes()),
        ("pg_hba.conf", ACCESS.encode()),
    ):
        path = data / name
        path.write_bytes(text)
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    server = EmbeddedPostgres(
        root / "postgres",
        programs,
        overrides={
            "listen_addresses": "127.0.0.1,127.0.0.2", "port": str(port), "ssl": "on",
            "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "ca.crt",
        },
    )  # fmt: skip
    await server.start()
    yield Secured(port, files)
    await server.stop()


def database_of(url: str) -> Database:
    """The product's way to a database."""
    clock, ids = SystemClock(), SystemIds()
    return Database(StoreOptions(url), clock, ids, Tracer(clock, ids, None, Sampler(0.0)))


async def encrypted(url: str) -> bool:
    """Whether the connection is; the driver's error when there is none."""
    session = await database_of(url).connect("test", {})
    try:
        return bool((await session.fetch(IS_ENCRYPTED))[0][0])
    finally:
        await session.close()


@pytest.mark.parametrize(
    ("mode", "host", "files"),
    [
        ("allow", "127.0.0.1", {}),
        ("prefer", "127.0.0.1", {}),
        ("require", "127.0.0.1", {}),
        ("verify-ca", "127.0.0.1", {"sslrootcert": "ca.crt"}),
        ("verify-full", "127.0.0.1", {"sslrootcert": "ca.crt"}),
        ("verify-full", "localhost", {"sslrootcert": "ca.crt"}),
    ],
)
async def test_connection_is_encrypted(secured: Secured, mode: str, host: str, files: dict[str, str]) -> None:
    assert await encrypted(secured.url(mode, host, **files))


@pytest.mark.parametrize(
    ("mode", "files", "error"),
    [
        ("disable", {}, asyncpg.InvalidAuthorizationSpecificationError),
        ("verify-ca", {"sslrootcert": "other.crt"}, ssl.SSLCertVerificationError),
        ("verify-full", {"sslrootcert": "other.crt"}, ssl.SSLCertVerificationError),
    ],
)
async def test_connection_is_refused(
    secured: Secured, mode: str, files: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await encrypted(secured.url(mode, **files))


async def test_verify_full_minds_the_name(secured: Secured) -> None:
    """The certificate is for `localhost` and 127.0.0.1, not for another address of this machine."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await encrypted(secured.url("verify-full", "127.0.0.2", sslrootcert="ca.crt"))
    assert await encrypted(secured.url("verify-ca", "127.0.0.2", sslrootcert="ca.crt"))


async def test_client_certificate_where_the_server_wants_one(secured: Secured) -> None:
    files = {"sslrootcert": "ca.crt", "sslcert": "client.crt", "sslkey": "client.key"}
    assert await encrypted(secured.url("verify-full", user="guarded", **files))
    with pytest.raises((asyncpg.InvalidAuthorizationSpecificationError, ConnectionError)):
        await encrypted(secured.url("verify-full", user="guarded", sslrootcert="ca.crt"))


async def migrated(**env: str) -> tuple[int, list[str]]:
    """`broadaxe migrate`: its exit code and what it complained of."""
    async with await ChildProcess.broadaxe("migrate", env=env) as process:
        return await process.wait(60), process.output("err").splitlines()


async def test_whole_product_over_tls(secured: Secured) -> None:
    url = secured.url("verify-full", sslrootcert="ca.crt")
    assert await migrated(DATABASE_URL=url) == (0, [])
    ledger = PostgresLedger(database_of(url))
    await ledger.open()
    await ledger.acquire_lease(engine())
    task = new_task()
    assert await ledger.create_tasks([task], patience=None) == [task.facts.run_id]
    connections = await ledger.database.fetch(statement("session_facts"))
    assert connections
    await ledger.close()


async def test_settings_by_parts_carry_the_mode(secured: Secured) -> None:
    parts = {
        "DATABASE_POSTGRES_HOST": "127.0.0.1",
        "DATABASE_POSTGRES_PORT": str(secured.port),
        "DATABASE_POSTGRES_USERNAME": "broadaxe",
        "DATABASE_POSTGRES_DB_NAME": "postgres",
    }
    assert await migrated(**parts, DATABASE_POSTGRES_SSL_MODE="require") == (0, [])
    trusted = {**parts, "DATABASE_POSTGRES_SSL_MODE": "verify-full"}
    assert await migrated(**trusted, PGSSLROOTCERT=str(secured.files["ca.crt"])) == (0, [])
    brief = {"DATABASE_COMMAND_WAIT": "5s"}
    untrusted, plain = await asyncio.gather(
        migrated(**trusted, **brief, PGSSLROOTCERT=str(secured.files["other.crt"])),
        migrated(**parts, **brief, DATABASE_POSTGRES_SSL_MODE="disable"),
    )
    for code, lines in (untrusted, plain):
        assert (code, len(lines)) == (1, 1), lines
    assert "SSLCertVerificationError" in untrusted[1][0]
