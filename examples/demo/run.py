"""The demo: an engine and API server on an embedded PostgreSQL, a worker, three workflows, their traces.

`--once` ends with 0 after the job; otherwise the server stays up until Ctrl-C.
"""

import argparse
import asyncio
import base64
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from pathlib import Path

from rich.console import Console

# grpcio must not hook into the start of child processes; said before it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from broadaxe.clock import SystemClock
from broadaxe.telemetry.gather import TraceGatherer
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.render import render_trace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DATA = Path(os.environ.get("BROADAXE_DEMO_DIR", ROOT / ".broadaxe" / "demo"))
# In a pipe there is no width to ask for.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100)


def die_with_parent() -> None:
    """In the child: end when the demo ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def start(*command: str, env: dict[str, str], log: Path) -> asyncio.subprocess.Process:
    """Start a program whose output goes to a log file."""
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=HERE,
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


async def until_listening(env: dict[str, str], worker: asyncio.subprocess.Process, seconds: float) -> None:
    """Until the worker's stream is open: the SDK says that it waits a moment before it does."""
    tenant = json.loads(base64.urlsafe_b64decode(env["HATCHET_CLIENT_TOKEN"].split(".")[1] + "=="))["sub"]
    request = urllib.request.Request(
        f"{env['HATCHET_CLIENT_SERVER_URL']}/api/v1/tenants/{tenant}/worker",
        headers={"Authorization": f"Bearer {env['HATCHET_CLIENT_TOKEN']}"},
    )
    deadline = time.monotonic() + seconds
    while True:
        with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as answer:
            workers = json.load(answer)["rows"]
        if any(one["status"] == "ACTIVE" and one["name"] == "demo-worker" for one in workers):
            return
        if worker.returncode is not None or time.monotonic() > deadline:
            raise SystemExit("the worker does not listen for tasks")
        await asyncio.sleep(0.05)


def client_environment() -> dict[str, str]:
    """What `broadaxe dev` wrote for SDKs."""
    found = {}
    for line in (DATA / "client.env").read_text().splitlines():
        name, sep, value = line.removeprefix("export ").partition("=")
        if sep and not line.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found


async def run_client(env: dict[str, str]) -> list[dict[str, object]]:
    """Run the caller; its JSON lines."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "client.py"),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    if process.returncode != 0:
        raise SystemExit(f"the caller failed with {process.returncode}:\n{err.decode()[-2000:]}")
    return [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]


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


async def show(gatherer: TraceGatherer, jobs: list[dict[str, object]]) -> None:
    """Print each result and draw its trace as soon as it is whole."""
    for job in jobs:
        trace_id = str(job["trace_id"])
        spans = await gatherer.trace(
            trace_id, frozenset({f"caller: {job['workflow']}", "hatchet.run/run"}), quiet=0.6, timeout=20
        )
        console.print()
        console.print(f"[bold]{job['workflow']}[/bold] -> {json.dumps(job['result'])}")
        console.print(render_trace(spans))


async def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Broadaxe's demo")
    parser.add_argument("--once", action="store_true", help="end after the job")
    once = parser.parse_args().once
    DATA.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    gatherer = TraceGatherer(SystemClock())
    receiver = Receiver(on_spans=gatherer.add)
    await receiver.start()
    collector = receiver.target
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HATCHET_", "SERVER_", "DATABASE_"))}
    server_env = {
        **plain,
        "SERVER_OTEL_COLLECTOR_URL": collector,
        "SERVER_OTEL_INSECURE": "true",
        "SERVER_OTEL_SERVICE_NAME": "broadaxe",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    broadaxe = shutil.which("broadaxe", path=str(Path(sys.executable).parent)) or "broadaxe"
    server = await start(broadaxe, "dev", "--data-dir", str(DATA), env=server_env, log=DATA / "server.log")
    worker = None
    try:
        console.print("Starting an engine and an API server on an embedded PostgreSQL ...")
        ready = await until_line(DATA / "server.log", "ready", server, 90)
        console.print(ready)
        env = {**plain, **client_environment(), "DEMO_COLLECTOR": collector, "PYTHONUNBUFFERED": "1"}
        console.print("Starting a worker with the official hatchet-sdk ...")
        worker = await start(sys.executable, str(HERE / "worker.py"), env=env, log=DATA / "worker.log")
        await until_line(DATA / "worker.log", "waiting for tasks", worker, 60)
        await until_listening(env, worker, 30)
        console.print("Running three workflows ...")
        await show(gatherer, await run_client(env))
        console.print(f"\nDone in {time.monotonic() - began:.0f} s.")
        if not once:
            print_addresses(env)
            await until_interrupted(server)
    finally:
        if worker is not None:
            await stop(worker)
        await stop(server)
        await receiver.stop()
    return 0


def print_addresses(env: dict[str, str]) -> None:
    """Where the server is, for a second terminal."""
    console.print("\nThe server stays up until Ctrl-C. In another terminal:")
    console.print(f"  . {DATA}/client.env        # token and addresses for any Hatchet SDK")
    console.print(f"gRPC   {env['HATCHET_CLIENT_HOST_PORT']}")
    console.print(f"REST   {env['HATCHET_CLIENT_SERVER_URL']}/api/v1/openapi.json")
    console.print(f"token  {env['HATCHET_CLIENT_TOKEN']}", soft_wrap=True)


async def until_interrupted(server: asyncio.subprocess.Process) -> None:
    """Wait for Ctrl-C, SIGTERM or the server's end."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    waits = [asyncio.create_task(stopped.wait()), asyncio.create_task(server.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
