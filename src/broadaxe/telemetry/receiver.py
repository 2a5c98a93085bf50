"""A small OTLP/gRPC receiver: takes traces and metrics and keeps them for people and for tests."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Context = grpc.aio.ServicerContext[Any, Any]
Value = str | bool | int | float | None
Answer = Callable[[ExportTraceServiceRequest, Context], Awaitable[ExportTraceServiceResponse]]
"""Takes the place of a plain success, so that a test can refuse, delay or accept in part."""

_MESSAGE_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it arrived; ids in hexadecimal, times in nanoseconds since 1970."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    links: tuple[tuple[str, str], ...]
    """Trace id and span id of each link."""
    events: tuple[tuple[str, int], ...]
    """Name and time of each event."""
    error: bool
    message: str
    resource: Mapping[str, Value]
    scope: str

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from start to end."""
        return self.end_ns - self.start_ns


def plain_value(value: AnyValue) -> Value:
    """An AnyValue as a Python value; bytes in hexadecimal, lists and maps as text."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    plain = getattr(value, which)
    if isinstance(plain, str | bool | int | float):
        return plain
    return plain.hex() if isinstance(plain, bytes) else str(plain)


def plain_attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Attribute pairs as a dictionary."""
    return {pair.key: plain_value(pair.value) for pair in pairs}


def _received(span: SpanMessage, resource: Mapping[str, Value], scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        service=str(resource.get("service.name", "")),
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=plain_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple((event.name, event.time_unix_nano) for event in span.events),
        error=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        resource=resource,
        scope=scope,
    )


def unpack(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    """All spans of a request."""
    spans = []
    for resource_spans in request.resource_spans:
        resource = plain_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            spans += [_received(span, resource, scope) for span in scope_spans.spans]
    return spans


class Receiver:
    """Listens for OTLP over gRPC and keeps the newest spans."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        credentials: grpc.ServerCredentials | None = None,
        on_spans: Callable[[list[ReceivedSpan]], None] | None = None,
        answer: Answer | None = None,
        keep: int = 100_000,
    ) -> None:
        self._host = host
        self._port = port
        self._credentials = credentials
        self._on_spans = on_spans
        self._answer = answer
        self._server: grpc.aio.Server | None = None
        self._arrived = asyncio.Condition()
        self.spans: deque[ReceivedSpan] = deque(maxlen=keep)
        """Accepted spans, oldest first."""
        self.metrics: deque[ExportMetricsServiceRequest] = deque(maxlen=100)
        """Metric requests, oldest first."""
        self.headers: deque[dict[str, str | bytes]] = deque(maxlen=1000)
        """Metadata of each call."""

    async def start(self) -> int:
        """Binds and returns the port; RuntimeError when the address cannot be had."""
        server = grpc.aio.server(
            options=(("grpc.max_receive_message_length", _MESSAGE_LIMIT), ("grpc.so_reuseport", 0))
        )
        for service, handler, request, response in (
            ("trace.v1.TraceService", self._traces, ExportTraceServiceRequest, ExportTraceServiceResponse),
            (
                "metrics.v1.MetricsService",
                self._metrics,
                ExportMetricsServiceRequest,
                ExportMetricsServiceResponse,
            ),
        ):
            method = grpc.unary_unary_rpc_method_handler(
                handler, request.FromString, response.SerializeToString
            )
            name = f"opentelemetry.proto.collector.{service}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method}),))
        address = f"{self._host}:{self._port}"
        if self._credentials is None:
            self._port = server.add_insecure_port(address)
        else:
            self._port = server.add_secure_port(address, self._credentials)
        await server.start()
        self._server = server
        return self._port

    @property
    def target(self) -> str:
        """`host:port` as a collector URL."""
        return f"{self._host}:{self._port}"

    async def stop(self) -> None:
        """Closes the listener; calls under way are cut."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def _traces(
        self, request: ExportTraceServiceRequest, context: Context
    ) -> ExportTraceServiceResponse:
        await self._note(context)
        if self._answer is not None:
            response = await self._answer(request, context)
        else:
            response = ExportTraceServiceResponse()
        spans = unpack(request)
        kept = spans[: len(spans) - response.partial_success.rejected_spans]
        async with self._arrived:
            self.spans.extend(kept)
            self._arrived.notify_all()
        if self._on_spans is not None:
            self._on_spans(kept)
        return response

    async def _metrics(
        self, request: ExportMetricsServiceRequest, context: Context
    ) -> ExportMetricsServiceResponse:
        await self._note(context)
        async with self._arrived:
            self.metrics.append(request)
            self._arrived.notify_all()
        return ExportMetricsServiceResponse()

    async def _note(self, context: Context) -> None:
        async with self._arrived:
            self.headers.append(dict(context.invocation_metadata() or ()))
            self._arrived.notify_all()

    async def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Waits until something arrived that makes `condition` true; False after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(condition)
        except TimeoutError:
            return condition()
        return True
