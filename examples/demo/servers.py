"""The demo's servers: engine and API server in one process, or as two on a PostgreSQL of the operator's."""

import asyncio
import ctypes
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from broadaxe.store.embedded import EmbeddedPostgres

BROADAXE = shutil.which("broadaxe", path=str(Path(sys.executable).parent)) or "broadaxe"
Environment = dict[str, str]


def die_with_parent() -> None:
    """In the child: end when the demo ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def start(*command: str, env: dict[str, str], log: Path) -> asyncio.subprocess.Process:
    """Start a program whose output goes to a log file."""
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=Path(__file__).resolve().parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,
        )


async def until_line(log: Path, text: str, process: asyncio.subprocess.Process, seconds: float) -> str:
    """The first line of a growing log that contains `text`."""
    deadline = time.monotonic() + seconds
    while True:
        for line in log.read_text(errors="replace").splitlines():
            if text in line:
                return line
        if process.returncode is not None or time.monotonic() > deadline:
            why = f"ended with {process.returncode}" if process.returncode is not None else "is not ready"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{log.name} {why} (whole log: {log}):\n{tail}")
        await asyncio.sleep(0.05)


def variables(text: str) -> Environment:
    """What lines of `NAME=value` set, with or without `export`."""
    found = {}
    for line in text.splitlines():
        name, sep, value = line.removeprefix("export ").partition("=")
        if sep and not line.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found


async def stop(process: asyncio.subprocess.Process, seconds: float = 15) -> None:
    """SIGTERM, then SIGKILL when that was not enough."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def together(
    data: Path, env: Environment
) -> AsyncIterator[tuple[str, Environment, list[asyncio.subprocess.Process]]]:
    """`broadaxe dev`: its ready line, what SDKs need, and the process to watch."""
    own = {**env, "SERVER_OTEL_SERVICE_NAME": "broadaxe"}
    log = data / "server.log"
    server = await start(BROADAXE, "dev", "--data-dir", str(data), env=own, log=log)
    try:
        ready = await until_line(log, "ready", server, 90)
        yield ready, variables((data / "client.env").read_text()), [server]
    finally:
        await stop(server)


async def command(*arguments: str, env: Mapping[str, str]) -> str:
    """A command that ends; what it printed."""
    process = await asyncio.create_subprocess_exec(
        BROADAXE, *arguments, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode != 0:
        raise SystemExit(f"broadaxe {arguments[0]} failed with {process.returncode}")
    return out.decode()


@asynccontextmanager
async def apart(
    data: Path, env: Environment
) -> AsyncIterator[tuple[str, Environment, list[asyncio.subprocess.Process]]]:
    """`broadaxe engine` and `broadaxe api`, each with its own name in traces, as one would run them."""
    folder = data / "apart"
    folder.mkdir(parents=True, exist_ok=True)
    database = EmbeddedPostgres(folder / "postgres")
    async with AsyncExitStack() as stack:
        dsn = await database.start()
        stack.push_async_callback(database.stop)
        if not (folder / "keys.env").exists():
            made = await command("keys", "create", "--dir", str(folder / "keys"), env=env)
            (folder / "keys.env").write_text(made)
        own = {
            **env,
            **variables((folder / "keys.env").read_text()),
            "DATABASE_URL": dsn,
            "SERVER_GRPC_INSECURE": "true",
            "SERVER_GRPC_BIND_ADDRESS": "127.0.0.1",
            "SERVER_BIND_ADDRESS": "127.0.0.1",
            "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
        }
        await command("migrate", env=own)
        await command("seed", env=own)
        of_engine = {**own, "SERVER_OTEL_SERVICE_NAME": "hatchet-engine"}
        log = folder / "engine.log"
        engine = await start(
            BROADAXE, "engine", "--grpc-port", "0", "--health-port", "0", env=of_engine, log=log
        )
        stack.push_async_callback(stop, engine)
        ready = await until_line(log, "ready grpc", engine, 60)
        grpc = dict(part.split("=", 1) for part in ready.split()[1:])["grpc"]
        of_api = {
            **own,
            "SERVER_OTEL_SERVICE_NAME": "hatchet-api",
            "SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS": grpc,
        }
        log = folder / "api.log"
        api = await start(BROADAXE, "api", "--port", "0", env=of_api, log=log)
        stack.push_async_callback(stop, api)
        said = await until_line(log, "ready rest", api, 60)
        rest = dict(part.split("=", 1) for part in said.split()[1:])["rest"]
        named = {**own, "SERVER_GRPC_BROADCAST_ADDRESS": grpc, "SERVER_URL": rest}
        token = await command("token", "create", "--name", "demo", env=named)
        client = {
            "HATCHET_CLIENT_TOKEN": token.strip(),
            "HATCHET_CLIENT_HOST_PORT": grpc,
            "HATCHET_CLIENT_TLS_STRATEGY": "none",
            "HATCHET_CLIENT_SERVER_URL": rest,
            "DEMO_OVER_REST": "true",
        }
        (folder / "client.env").write_text(
            "".join(f"export {name}={value}\n" for name, value in client.items())
        )
        yield f"{ready}\n{said}", client, [engine, api]
