"""`broadaxe dev`: everything in one process, with a database, keys, a tenant and a token of its own."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from broadaxe.app import admin
from broadaxe.app.process import Process, Roles, StartFailed, serve
from broadaxe.app.telemetry import set_up_logs
from broadaxe.auth.keys import ensure_key_files, load_keysets
from broadaxe.auth.tokens import TokenRejected, verify_token
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.config.errors import SettingsError
from broadaxe.config.loader import Flag, Loaded, load_settings
from broadaxe.config.settings import Settings
from broadaxe.store.embedded import EmbeddedPostgres

TOKEN_LIFE = timedelta(days=365)
TOKEN_MARGIN = timedelta(days=7)
"""A kept token is made anew when it has less than this left."""


class Ports(msgspec.Struct):
    """The ports of the last start, so that the next one has the same addresses."""

    grpc: int = 0
    rest: int = 0
    health: int = 0


Sources = tuple[Mapping[str, str], Path | None, Mapping[str, Flag], Mapping[str, str]]
"""Where settings come from: environment, directory, flags, the defaults of this command."""


_VARIABLES = {"SERVER_GRPC_PORT": "grpc", "SERVER_PORT": "rest", "SERVER_HEALTHCHECK_PORT": "health"}


async def run(data_dir: Path, config_dir: Path | None, flags: Mapping[str, tuple[str, object]]) -> int:
    """Run until SIGTERM or SIGINT; the exit code. `StartFailed` when the directory cannot be had."""
    with _alone(data_dir):
        return await _run(data_dir, config_dir, flags)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Keep other servers out of the directory: they would take over its token, ports and `client.env`."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartFailed(f"--data-dir: {data_dir} cannot be written to: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartFailed(f"--data-dir: {data_dir} is in use by another `broadaxe dev`") from error
        yield
    finally:
        os.close(lock)


async def _run(data_dir: Path, config_dir: Path | None, flags: Mapping[str, tuple[str, object]]) -> int:
    keys = await asyncio.to_thread(ensure_key_files, data_dir / "keys", SystemIds())
    ports = _kept_ports(data_dir)
    given = {variable: Flag(option, str(value)) for variable, (option, value) in flags.items()}
    for variable, kept in _VARIABLES.items():
        # 0 asks for any free port: the one of the last start, so that clients find the server again.
        if variable in given and given[variable].value == "0":
            given[variable] = Flag(given[variable].option, str(getattr(ports, kept)))
    defaults = {
        "SERVER_GRPC_INSECURE": "true",
        "SERVER_GRPC_BIND_ADDRESS": "127.0.0.1",
        "SERVER_BIND_ADDRESS": "127.0.0.1",
        "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
        "SERVER_PROMETHEUS_ADDRESS": "127.0.0.1:9090",
        "SERVER_LOGGER_LEVEL": "info",
        "SERVER_GRPC_PORT": str(ports.grpc),
        "SERVER_PORT": str(ports.rest),
        "SERVER_HEALTHCHECK_PORT": str(ports.health),
        "SERVER_ENCRYPTION_MASTER_KEYSET_FILE": keys.master_keyset_file,
        "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE": keys.jwt_private_keyset_file,
        "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE": keys.jwt_public_keyset_file,
    }
    environ = dict(os.environ)
    database: EmbeddedPostgres | None = None
    sources: Sources = (environ, config_dir, given, defaults)
    if not _own_database(sources):
        database = EmbeddedPostgres(data_dir / "postgres")
        environ["DATABASE_URL"] = await database.start()
    try:
        loaded = _load(sources)
        set_up_logs(loaded.settings)
        await admin.migrate(loaded.settings)
        await admin.seed(loaded.settings)

        async def before(process: Process) -> None:
            _keep_ports(data_dir, process)
            await _write_client_env(data_dir, process)

        return await serve(loaded, Roles(engine=True, api=True, share_port=False), before=before)
    finally:
        if database is not None:
            await database.stop()


def _own_database(sources: Sources) -> bool:
    """Whether the operator named a database: then none is started."""
    settings = _load(sources).settings
    parts = ("DATABASE_POSTGRES_HOST", "DATABASE_POSTGRES_PORT", "DATABASE_POSTGRES_DB_NAME")
    return any(settings.origin(variable) != "default" for variable in ("DATABASE_URL", *parts))


def _load(sources: Sources) -> Loaded:
    environ, config_dir, flags, defaults = sources
    return load_settings(
        environ, config_dir=config_dir, flags=flags, defaults=defaults, defaults_origin="default of dev"
    )


def _kept_ports(data_dir: Path) -> Ports:
    try:
        kept = msgspec.json.decode((data_dir / "ports.json").read_bytes(), type=Ports)
    except (OSError, msgspec.DecodeError):
        return Ports()
    return Ports(*(port if _free(port) else 0 for port in (kept.grpc, kept.rest, kept.health)))


def _free(port: int) -> bool:
    """Whether nobody else listens there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _keep_ports(data_dir: Path, process: Process) -> None:
    engine, rest = process.engine, process.rest
    if engine is None or rest is None:
        return
    health = engine.health_address.rpartition(":")[2]
    ports = Ports(
        int(engine.grpc_address.rpartition(":")[2]), int(rest.url.rpartition(":")[2]), int(health or 0)
    )
    (data_dir / "ports.json").write_bytes(msgspec.json.encode(ports))


async def _write_client_env(data_dir: Path, process: Process) -> None:
    """What SDKs need, in a file that a shell can source."""
    engine, rest, shared = process.engine, process.rest, process.shared
    if engine is None or rest is None or shared is None:
        return
    path = data_dir / "client.env"
    token = _kept_token(path, shared.settings)
    if token is None:
        made = await admin.create_token(
            shared.settings, None, "dev", TOKEN_LIFE, url=rest.url, address=engine.grpc_address
        )
        token = made.token
    strategy = {"plaintext": "none"}.get(shared.settings.grpc_security, shared.settings.grpc_security)
    lines = [
        "# For any Hatchet SDK; written by `broadaxe dev` at each start.",
        f"export HATCHET_CLIENT_TOKEN={token}",
        f"export HATCHET_CLIENT_HOST_PORT={engine.grpc_address}",
        f"export HATCHET_CLIENT_TLS_STRATEGY={strategy}",
        f"export HATCHET_CLIENT_SERVER_URL={rest.url}",
        f"export HATCHET_CLIENT_API_URL={rest.url}",  # what the TypeScript SDK calls it
        "",
    ]
    fresh = path.with_name("client.env.new")
    fresh.touch(mode=0o600)
    fresh.write_text("\n".join(lines))
    fresh.replace(path)


def _kept_token(path: Path, settings: Settings) -> str | None:
    """The token of the last start, when it still counts for this database's keys and tenant."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    prefix = "export HATCHET_CLIENT_TOKEN="
    token = next((line.removeprefix(prefix) for line in lines if line.startswith(prefix)), "")
    now = SystemClock().now()
    try:
        keysets = load_keysets(settings.encryption)
        claims = verify_token(token, keysets.verifying, now.timestamp())
    except (TokenRejected, SettingsError):
        return None
    if claims.identity.tenant_id != settings.seed.tenant_id:
        return None
    return token if claims.expires_at - now.timestamp() > TOKEN_MARGIN.total_seconds() else None
