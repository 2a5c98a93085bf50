"""A servicer of two toy services, and a server around it, for the tests of the transports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
from grpc import aio

from broadaxe.clock import Clock, SystemClock
from broadaxe.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from broadaxe.domain.ids import TenantId
from broadaxe.grpc_api.call import Call, Code
from broadaxe.grpc_api.identity import Identity
from broadaxe.grpc_api.lean.server import LeanServer
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.rate_limit import RateGroup, RateLimiter
from broadaxe.grpc_api.transport_grpcio import GrpcioServer, GrpcioSettings
from broadaxe.grpc_api.wire import dispatcher_pb2, events_pb2
from broadaxe.grpc_api.wire.v1 import workflows_pb2
from broadaxe.telemetry.context import TraceContext

TENANT = TenantId(UUID(int=1))
TOKEN = UUID(int=2)
BEARER = (("authorization", "Bearer good"),)
CHOSEN = TraceContext(b"t" * 16, b"s" * 8, True)

DISPATCHER = dispatcher_pb2.DESCRIPTOR.services_by_name["Dispatcher"]
EVENTS = events_pb2.DESCRIPTOR.services_by_name["EventsService"]


class ToyAuthenticator:
    """Takes the token `good`, and knows it from its second call on; for `away` it cannot tell."""

    def __init__(self) -> None:
        self._accepted: dict[str, Identity] = {}

    def known(self, authorization: str) -> Identity | None:
        return self._accepted.get(authorization)

    async def authenticate(self, authorization: str) -> Identity:
        token = authorization.split()[1]
        if token == "away":
            raise Unavailable("the database is away")
        if token == "broken":
            raise KeyError(token)
        if token != "good":
            raise Unauthenticated("signature does not match")
        identity = self._accepted[authorization] = Identity(TENANT, TOKEN, internal=False)
        return identity


@dataclass
class Seen:
    """An observer that keeps what it is told."""

    spans: list[tuple[str, Call, Code]] = field(default_factory=list)
    durations: list[tuple[str, Code, float]] = field(default_factory=list)
    open_streams: int = 0
    tracing: bool = True
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self, method: Method, call: Call, start_ns: int) -> None:
        assert start_ns > 0

    def traced(self, method: Method, call: Call, code: Code, start_ns: int, end_ns: int) -> None:
        assert start_ns <= end_ns
        self.spans.append((method.name, call, code))
        self.changed.set()

    def stream_began(self, method: Method) -> None:
        self.open_streams += 1
        self.changed.set()

    def stream_ended(self, method: Method) -> None:
        self.open_streams -= 1
        self.changed.set()

    def measured(self, method: Method, code: Code, seconds: float) -> None:
        self.durations.append((method.name, code, seconds))
        self.changed.set()

    async def until(self, condition: Any) -> None:
        """Wait until a condition over what was told holds."""
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class ToyServicer:
    """Handlers whose behaviour a request chooses."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.finished: list[str] = []
        self.says: tuple[tuple[str, str | bytes], ...] = ()
        """Metadata that every call gets, before and after."""

    def methods(self) -> list[Method]:
        dispatcher = service_methods(
            DISPATCHER,
            {
                "Register": self.register,
                "Heartbeat": self.register,
                "ListenV2": self.listen,
                "SubscribeToWorkflowRuns": self.subscribe,
            },
            RateGroup.DISPATCHER,
            untraced=frozenset({"Heartbeat"}),
        )
        return dispatcher + service_methods(EVENTS, {"Push": self.push}, RateGroup.EVENTS)

    def _began(self, call: Call) -> None:
        self.calls.append(call)
        for key, value in self.says:
            call.add_initial_metadata(key, value)
            call.add_trailing_metadata(key, value)

    async def push(self, request: events_pb2.PushEventRequest, call: Call) -> events_pb2.Event:
        """Answer the payload; remember the call."""
        self._began(call)
        call.trace_parent(CHOSEN if request.key == "chosen" else None)
        return events_pb2.Event(tenant_id=str(call.tenant_id), payload=request.payload)

    async def register(self, request: Any, call: Call) -> Any:
        """Fail, or wait, as the worker's name says."""
        self._began(call)
        match getattr(request, "worker_name", ""):
            case "wait":
                self.began.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "cancel":
                inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                inner.cancel()
                await inner
            case "invalid":
                raise InvalidArgument("worker_name: not this one")
            case "missing":
                raise NotFound("not found")
            case "precondition":
                raise FailedPrecondition("open the session first")
            case "away":
                raise Unavailable("later")
            case "exists":
                detail = workflows_pb2.IdempotencyCollisionError(existing_run_external_id="one")
                raise AlreadyExists("idempotency key collision", detail)
            case "timeout":
                raise TimeoutError
            case "bug":
                raise KeyError("secret")
            case "abort":
                call.abort(Code.OUT_OF_RANGE, "too far")
            case _:
                pass
        return dispatcher_pb2.WorkerRegisterResponse(worker_id="w")

    async def listen(
        self, request: dispatcher_pb2.WorkerListenRequest, call: Call
    ) -> AsyncIterator[dispatcher_pb2.AssignedAction]:
        """Count to the number in worker_id, then end; or wait for what the id says."""
        self._began(call)
        try:
            match request.worker_id:
                case "deaf":
                    self.began.set()
                    yield dispatcher_pb2.AssignedAction(action_id="0")
                    await self.release.wait()
                case "polite":
                    self.began.set()
                    yield dispatcher_pb2.AssignedAction(action_id="0")
                    await call.closing.wait()
                    yield dispatcher_pb2.AssignedAction(action_id="last")
                case "quiet":
                    call.opened()
                    await self.release.wait()
                case "unknown":
                    raise NotFound("not found")
                case count:
                    for number in range(int(count)):
                        yield dispatcher_pb2.AssignedAction(action_id=str(number))
        finally:
            self.finished.append(request.worker_id)

    async def subscribe(
        self, requests: AsyncIterator[dispatcher_pb2.SubscribeToWorkflowRunsRequest], call: Call
    ) -> AsyncIterator[dispatcher_pb2.WorkflowRunEvent]:
        """Echo each id."""
        async for request in requests:
            yield dispatcher_pb2.WorkflowRunEvent(workflow_run_id=request.workflow_run_id)


@dataclass
class Toy:
    """A running server and what is behind it."""

    server: GrpcioServer | LeanServer
    servicer: ToyServicer
    seen: Seen
    pipeline: Pipeline

    @property
    def target(self) -> str:
        return f"localhost:{self.server.port}"


SETTINGS: dict[str, Any] = {"grpcio": GrpcioSettings, "lean": LeanSettings}


class Chosen:
    """The transport of the present test; the fixture `transport` sets it."""

    name = "grpcio"


def listening(**changes: Any) -> Any:
    """Settings of the present transport, on any free port unless the changes say otherwise."""
    return SETTINGS[Chosen.name](**{"port": 0, **changes})


def make_server(methods: list[Method], pipeline: Pipeline, settings: Any) -> GrpcioServer | LeanServer:
    """The server that goes with the settings."""
    kind = GrpcioServer if isinstance(settings, GrpcioSettings) else LeanServer
    return kind(methods, pipeline, SystemClock(), settings)


@asynccontextmanager
async def serving(
    settings: Any = None,
    rate: float = 0,
    methods: list[Method] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Toy]:
    """A toy server on a free port of loopback; `clock` is that of its rate limits."""
    system, seen, servicer = SystemClock(), Seen(), ToyServicer()
    pipeline = Pipeline(ToyAuthenticator(), RateLimiter(clock or system, rate), seen, system)
    server = make_server([*servicer.methods(), *(methods or [])], pipeline, settings or listening())
    await server.start()
    try:
        yield Toy(server, servicer, seen, pipeline)
    finally:
        servicer.release.set()
        await server.stop(0)


class Client:
    """A raw client of the toy services."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel

        def encode(message: Any) -> bytes:
            return message.SerializeToString()

        self.push = channel.unary_unary("/EventsService/Push", encode, events_pb2.Event.FromString)
        self.register = channel.unary_unary(
            "/Dispatcher/Register", encode, dispatcher_pb2.WorkerRegisterResponse.FromString
        )
        self.heartbeat = channel.unary_unary(
            "/Dispatcher/Heartbeat", encode, dispatcher_pb2.HeartbeatResponse.FromString
        )
        self.unsubscribe = channel.unary_unary(
            "/Dispatcher/Unsubscribe", encode, dispatcher_pb2.WorkerUnsubscribeResponse.FromString
        )
        self.listen_v1 = channel.unary_stream(
            "/Dispatcher/Listen", encode, dispatcher_pb2.AssignedAction.FromString
        )
        self.listen = channel.unary_stream(
            "/Dispatcher/ListenV2", encode, dispatcher_pb2.AssignedAction.FromString
        )
        self.subscribe = channel.stream_stream(
            "/Dispatcher/SubscribeToWorkflowRuns", encode, dispatcher_pb2.WorkflowRunEvent.FromString
        )


@asynccontextmanager
async def client(
    target: str, credentials: grpc.ChannelCredentials | None = None, **options: int
) -> AsyncIterator[Client]:
    """A client with a connection of its own; options are grpcio's with `__` for the dots."""
    pairs = [(f"grpc.{key.replace('__', '.')}", value) for key, value in options.items()]
    pairs.append(("grpc.use_local_subchannel_pool", 1))
    if credentials is None:
        channel = aio.insecure_channel(target, pairs)
    else:
        channel = aio.secure_channel(target, credentials, pairs)
    try:
        yield Client(channel)
    finally:
        await channel.close()


def register(name: str) -> dispatcher_pb2.WorkerRegisterRequest:
    return dispatcher_pb2.WorkerRegisterRequest(worker_name=name)


def listen(worker: str) -> dispatcher_pb2.WorkerListenRequest:
    return dispatcher_pb2.WorkerListenRequest(worker_id=worker)
