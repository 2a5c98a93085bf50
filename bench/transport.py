"""CPU of a call and of a streamed message on each gRPC transport and on grpc-go, beside each other.

`python -m bench.transport` starts a server of each kind in a process of its own and loads them in turns.
The load sends ready-made messages, so that it is not what is measured. Each call has a token that is checked
(from a cache, as in production), a rate limit and a time-out of its own. The lean server is also measured
with metrics, which are off unless somebody wants them.
`answered` is a handler that answers at once, `committed` one that waits for something others wait for too.
The server of grpc-go (`bench/grpc_go`) does the same around a call, with metrics; it is left out where Go is
not at hand.
"""

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import uvloop

from bench.engine import start_program
from bench.http2_load import Client
from broadaxe.auth.tokens import Identity
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.config.tls import ServerTls
from broadaxe.domain.ids import TenantId
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.lean.server import LeanServer
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.observer import TelemetryObserver
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.rate_limit import RateGroup, RateLimiter
from broadaxe.grpc_api.transport import Transport
from broadaxe.grpc_api.transport_grpcio import GrpcioServer, GrpcioSettings
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher
from broadaxe.telemetry.runtime import Telemetry, TelemetryOptions
from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.process import ChildProcess
from tests.judges import NotHere, find

TENANT = TenantId(UUID(int=1))
TOKEN = "t" * 300
FIELDS = (("authorization", f"bearer {TOKEN}"),)
ANSWERED, COMMITTED = "/Dispatcher/SendStepActionEvent", "/Dispatcher/Heartbeat"
STREAM = "/Dispatcher/ListenV2"
MESSAGES = 2000
GRPC_GO = "grpc-go"
IDENTIFIER = "00000000-0000-7000-8000-000000000001"


class Tokens:
    """A cache of tokens, already warm."""

    def __init__(self) -> None:
        self._known = {f"bearer {TOKEN}": Identity(TENANT, UUID(int=2))}

    def known(self, authorization: str) -> Identity | None:
        """The tenant."""
        return self._known.get(authorization)

    async def authenticate(self, authorization: str) -> Identity:
        """The tenant."""
        return self._known[authorization]


class Servicer:
    """Three methods of the dispatcher's."""

    def __init__(self) -> None:
        self._commit: asyncio.Future[None] | None = None
        payload = json.dumps({"input": {"message": "x" * 150}, "triggered_by": "manual"})
        self._action = dispatcher.AssignedAction(
            tenant_id=IDENTIFIER,
            workflow_run_id=IDENTIFIER,
            job_id=IDENTIFIER,
            job_name="bench",
            task_id=IDENTIFIER,
            task_run_external_id=IDENTIFIER,
            action_id="bench:run",
            action_payload=payload,
            task_name="run",
        )

    def methods(self) -> list[Method]:
        """The table."""
        return service_methods(
            dispatcher.DESCRIPTOR.services_by_name["Dispatcher"],
            {"SendStepActionEvent": self.event, "Heartbeat": self.heartbeat, "ListenV2": self.listen},
            RateGroup.DISPATCHER,
        )

    async def event(self, request: Any, call: Call) -> Any:
        """Answer at once."""
        return dispatcher.ActionEventResponse(tenant_id=IDENTIFIER, worker_id=request.worker_id)

    async def heartbeat(self, request: Any, call: Call) -> Any:
        """Answer when the loop has done what it had to do, as if a batch had been committed."""
        loop = asyncio.get_running_loop()
        commit = self._commit
        if commit is None:
            commit = self._commit = loop.create_future()
            loop.call_soon(self._committed)
        await asyncio.shield(commit)
        return dispatcher.HeartbeatResponse()

    def _committed(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            commit.set_result(None)

    async def listen(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """As many messages as the worker's id says."""
        for _ in range(int(request.worker_id)):
            yield self._action


async def serve(options: argparse.Namespace) -> None:
    """A server of one kind until it is ended."""
    clock = SystemClock()
    telemetry = Telemetry(TelemetryOptions(prometheus_enabled=options.metrics), clock, SystemIds())
    observer = TelemetryObserver(telemetry.tracer, telemetry.metrics)
    pipeline = Pipeline(Tokens(), RateLimiter(clock, 1e9), observer, clock)
    tls = None
    if options.tls:
        certificate, key = (Path(options.tls, name).read_bytes() for name in ("server.crt", "server.key"))
        tls = ServerTls(certificate, key, None, "1.2")
    server: Transport
    if options.transport == "lean":
        server = LeanServer(Servicer().methods(), pipeline, clock, LeanSettings(port=0, tls=tls))
    else:
        server = GrpcioServer(Servicer().methods(), pipeline, clock, GrpcioSettings(port=0, tls=tls))
    await server.start()
    print(json.dumps({"port": server.port}), flush=True)
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def running(
    kind: str, folder: Path | None, *, metrics: bool = False
) -> AsyncIterator[tuple[ChildProcess, int]]:
    """A server in a process of its own; the process and its port."""
    options: list[object] = [] if folder is None else ["--tls", folder]
    if metrics:
        options.append("--metrics")
    if kind == GRPC_GO:
        start = ChildProcess.start(find("grpc-go-server", build=True), *map(str, options), name=kind)
    else:
        start = start_program("bench.transport", "--serve", kind, *options)
    async with await start as child:
        started = await child.wait_json(lambda found: "port" in found, 30, what="port")
        yield child, int(started["port"])


@contextlib.contextmanager
def on_one_core(pid: int) -> Iterator[None]:
    """Keeps this process and another one on the same core.

    A lone caller's server sleeps after each call. On a core of its own it is woken, and wakes its caller, by
    an interrupt between cores, which a virtual machine makes dear: a good part of what is measured then.
    """
    cores = os.sched_getaffinity(0)
    threads = [0, *(int(name) for name in os.listdir(f"/proc/{pid}/task"))]
    try:
        for thread in threads:
            os.sched_setaffinity(thread, {min(cores)})
        yield
    finally:
        for thread in threads:
            os.sched_setaffinity(thread, cores)


class Load:
    """The measurements of one server."""

    def __init__(
        self, child: ChildProcess, port: int, context: ssl.SSLContext | None, seconds: float
    ) -> None:
        self._child = child
        self._port = port
        self._context = context
        self._seconds = seconds

    async def alone(self, path: str) -> float:
        """Microseconds of CPU a call of one caller that shares the server's core."""
        with on_one_core(self._child.pid):
            return await self.unary(path, 1)

    async def unary(self, path: str, callers: int) -> float:
        """Microseconds of CPU a call, of so many callers on up to ten connections."""
        event = dispatcher.StepActionEvent if path == ANSWERED else dispatcher.HeartbeatRequest
        request = event(worker_id=IDENTIFIER).SerializeToString()
        clients = [await Client.connect(self._port, self._context) for _ in range(min(callers, 10))]
        count = 0
        end = time.perf_counter() + self._seconds

        async def call(client: Client) -> None:
            nonlocal count
            while time.perf_counter() < end:
                await client.call(path, FIELDS, request)
                count += 1

        before = self._child.usage().cpu_seconds
        await asyncio.gather(*(call(clients[number % len(clients)]) for number in range(callers)))
        spent = self._child.usage().cpu_seconds - before
        for client in clients:
            client.close()
        return spent / count * 1e6

    async def streamed(self, callers: int) -> float:
        """Microseconds of CPU a streamed message."""
        request = dispatcher.WorkerListenRequest(worker_id=str(MESSAGES)).SerializeToString()
        clients = [await Client.connect(self._port, self._context) for _ in range(min(callers, 10))]
        count = 0
        end = time.perf_counter() + self._seconds

        async def call(client: Client) -> None:
            nonlocal count
            while time.perf_counter() < end:
                frames = await client.call(STREAM, FIELDS, request)
                count += frames

        before = self._child.usage().cpu_seconds
        await asyncio.gather(*(call(clients[number % len(clients)]) for number in range(callers)))
        spent = self._child.usage().cpu_seconds - before
        for client in clients:
            client.close()
        return spent / count * 1e6


TOGETHER = 0
"""In place of a number of callers: one, on the server's core."""
CASES = (
    ("unary, answered at once, 1 caller on the server's core", ANSWERED, TOGETHER),
    ("unary, answered at once, 1 caller on another core", ANSWERED, 1),
    ("unary, answered at once, 50 callers", ANSWERED, 50),
    ("unary, after a shared wait, 50 callers", COMMITTED, 50),
    ("streamed message, 1 stream", STREAM, 1),
    ("streamed message, 50 streams", STREAM, 50),
)


class Kind(NamedTuple):
    """A server to be measured."""

    title: str
    name: str
    tls: bool = False
    metrics: bool = False


def servers() -> list[Kind]:
    """Whom to measure."""
    kinds = [
        Kind("grpcio", "grpcio"),
        Kind("grpcio TLS", "grpcio", tls=True),
        Kind("lean", "lean"),
        Kind("lean, metrics", "lean", metrics=True),
        Kind("lean TLS", "lean", tls=True),
    ]
    try:
        find("grpc-go-server", build=True)
    except NotHere as reason:
        print(f"without grpc-go: {reason}", file=sys.stderr)
        return kinds
    return [*kinds, Kind(GRPC_GO, GRPC_GO), Kind(f"{GRPC_GO} TLS", GRPC_GO, tls=True)]


async def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The median of each case by server, in rounds that go over all servers."""
    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority.make()
        authority.write(folder)
        context = ssl.create_default_context(cadata=authority.certificate.decode())
        context.set_alpn_protocols(["h2"])
        async with contextlib.AsyncExitStack() as stack:
            loads: dict[str, Load] = {}
            for kind in servers():
                server = running(kind.name, folder if kind.tls else None, metrics=kind.metrics)
                child, port = await stack.enter_async_context(server)
                loads[kind.title] = Load(child, port, context if kind.tls else None, options.seconds)
            for _ in range(options.rounds):
                for title, path, callers in CASES:
                    for column, load in loads.items():
                        if path == STREAM:
                            found = await load.streamed(callers)
                        elif callers == TOGETHER:
                            found = await load.alone(path)
                        else:
                            found = await load.unary(path, callers)
                        print(f"{column:14} {title:55} {found:8.1f} us", file=sys.stderr, flush=True)
                        figures.setdefault(title, {}).setdefault(column, []).append(found)
    return {
        title: {server: statistics.median(found) for server, found in row.items()}
        for title, row in figures.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", dest="transport", choices=("grpcio", "lean"), help="be a server")
    parser.add_argument("--tls", help="for a server: folder with `server.crt` and `server.key`")
    parser.add_argument("--metrics", action="store_true", help="for a server: metrics on")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.transport:
        uvloop.run(serve(options))
        return
    figures = uvloop.run(measure(options))
    columns = list(next(iter(figures.values())))
    print(f"| CPU us of the server | {' | '.join(columns)} |")
    print("|---|" + "---|" * len(columns))
    for title, row in figures.items():
        print(f"| {title} | {' | '.join(f'{row[server]:.1f}' for server in columns)} |")


if __name__ == "__main__":
    main()
