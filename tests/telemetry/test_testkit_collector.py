"""The collector that tests misbehave with."""

from pathlib import Path

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.collector import Collector, Mood


def request(*names: str) -> ExportTraceServiceRequest:
    """An export of spans with these names."""
    spans = [
        Span(name=name, trace_id=b"t" * 16, span_id=bytes([number + 1]) * 8)
        for number, name in enumerate(names)
    ]
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])


async def export(channel: grpc.aio.Channel, *names: str, timeout: float = 30.0) -> ExportTraceServiceResponse:
    """Send an export."""
    call = channel.unary_unary(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        request_serializer=ExportTraceServiceRequest.SerializeToString,
        response_deserializer=ExportTraceServiceResponse.FromString,
    )
    return await call(request(*names), metadata=(("authorization", "Bearer x"),), timeout=timeout)


async def test_collector_each_mood_answers_as_named() -> None:
    async with Collector(delay=0.01) as collector, grpc.aio.insecure_channel(collector.target) as channel:
        await export(channel, "one")
        assert collector.headers[-1]["authorization"] == "Bearer x"
        collector.mood = Mood.SLOW
        await export(channel, "two")
        collector.mood = Mood.REFUSING
        with pytest.raises(grpc.aio.AioRpcError, match="refused by the test"):
            await export(channel, "three")
        collector.mood = Mood.HANGING
        with pytest.raises(grpc.aio.AioRpcError) as hung:
            await export(channel, "four", timeout=1.0)
        assert hung.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        collector.mood = Mood.PARTIAL
        answer = await export(channel, "five", "six")
        assert answer.partial_success.rejected_spans == 1
        assert [span.name for span in await collector.wait_span("five")] == ["five"]
        assert {span.name for span in collector.spans} == {"one", "two", "five"}
        with pytest.raises(AssertionError, match="not in the collector: 1 of nine"):
            await collector.wait_span("nine", timeout=0.01)


async def test_collector_with_a_private_authority_takes_only_its_clients(tmp_path: Path) -> None:
    authority = Authority.make()
    files = authority.write(tmp_path)
    async with Collector(authority=authority, client_required=True) as collector:
        credentials = grpc.ssl_channel_credentials(
            files["ca.crt"].read_bytes(), files["client.key"].read_bytes(), files["client.crt"].read_bytes()
        )
        async with grpc.aio.secure_channel(collector.target, credentials) as channel:
            await export(channel, "one")
        stranger = grpc.ssl_channel_credentials(Authority.make().certificate)
        for refused in (
            grpc.aio.secure_channel(collector.target, stranger),
            grpc.aio.insecure_channel(collector.target),
        ):
            async with refused as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await export(channel, "two", timeout=1.0)
        assert [span.name for span in collector.spans] == ["one"]
