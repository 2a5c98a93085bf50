"""The demo: an engine and API server on an embedded PostgreSQL, a worker, three workflows, their traces.

`--once` ends with 0 after the job; otherwise the servers stay up until Ctrl-C. With `--apart` engine and API
server are two processes, and a workflow is also started over REST.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
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
from servers import apart, die_with_parent, start, stop, together, until_line

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DATA = Path(os.environ.get("BROADAXE_DEMO_DIR", ROOT / ".broadaxe" / "demo"))
# In a pipe there is no width to ask for.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100)


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
    parser.add_argument(
        "--apart",
        action="store_true",
        help="engine and API server as two processes, with a name each in traces",
    )
    given = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    gatherer = TraceGatherer(SystemClock())
    receiver = Receiver(on_spans=gatherer.add)
    await receiver.start()
    collector = receiver.target
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HATCHET_", "SERVER_", "DATABASE_"))}
    export = {
        "SERVER_OTEL_COLLECTOR_URL": collector,
        "SERVER_OTEL_INSECURE": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    worker = None
    serving = apart if given.apart else together
    console.print(f"Starting an engine and an API server, {serving.__name__}, on an embedded PostgreSQL ...")
    async with serving(DATA, {**plain, **export}) as (ready, client, servers):
        try:
            console.print(ready)
            env = {**plain, **client, "DEMO_COLLECTOR": collector, "PYTHONUNBUFFERED": "1"}
            console.print("Starting a worker with the official hatchet-sdk ...")
            worker = await start(sys.executable, str(HERE / "worker.py"), env=env, log=DATA / "worker.log")
            await until_line(DATA / "worker.log", "waiting for tasks", worker, 60)
            await until_listening(env, worker, 30)
            console.print("Running the workflows ...")
            await show(gatherer, await run_client(env))
            console.print(f"\nDone in {time.monotonic() - began:.0f} s.")
            if not given.once:
                print_addresses(env, DATA / "apart" if given.apart else DATA)
                await until_interrupted(servers)
        finally:
            if worker is not None:
                await stop(worker)
    await receiver.stop()
    return 0


def print_addresses(env: dict[str, str], folder: Path) -> None:
    """Where the server is, for a second terminal."""
    console.print("\nThe server stays up until Ctrl-C. In another terminal:")
    console.print(f"  . {folder}/client.env        # token and addresses for any Hatchet SDK")
    console.print(f"gRPC   {env['HATCHET_CLIENT_HOST_PORT']}")
    console.print(f"REST   {env['HATCHET_CLIENT_SERVER_URL']}/api/v1/openapi.json")
    console.print(f"token  {env['HATCHET_CLIENT_TOKEN']}", soft_wrap=True)


async def until_interrupted(servers: list[asyncio.subprocess.Process]) -> None:
    """Wait for Ctrl-C, SIGTERM or the end of a server."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    waits = [asyncio.create_task(one) for one in (stopped.wait(), *(server.wait() for server in servers))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
