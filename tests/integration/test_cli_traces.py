"""`broadaxe traces tail` as a process: a collector for people without one."""

import re

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from broadaxe.testkit.process import ChildProcess

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LISTENING = r"SERVER_OTEL_COLLECTOR_URL=(\S+)"
MILLISECOND = 1_000_000


def trace(number: int, *names: str) -> ExportTraceServiceRequest:
    """One trace: the first span is above the others."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="shop")))
    spans = resource.scope_spans.add().spans
    for place, name in enumerate(names, 1):
        spans.append(
            Span(
                trace_id=bytes([number]) * 16,
                span_id=bytes([place]) * 8,
                parent_span_id=b"" if place == 1 else b"\x01" * 8,
                name=name,
                start_time_unix_nano=1_000 * MILLISECOND * place,
                end_time_unix_nano=1_000 * MILLISECOND * place + 5 * MILLISECOND,
            )
        )
    return request


async def test_tail_draws_each_trace_and_ends_after_as_many_as_asked() -> None:
    async with await ChildProcess.broadaxe(
        "traces", "tail", "--port", "0", "--quiet", "0.2", "--count", "2"
    ) as tail:
        found = re.search(LISTENING, await tail.wait_line(LISTENING))
        assert found
        async with grpc.aio.insecure_channel(found[1]) as channel:
            export = channel.unary_unary(EXPORT, ExportTraceServiceRequest.SerializeToString, None)
            await export(trace(1, "order", "pay", "pack"))
            await tail.wait_line("pack")
            await export(trace(2, "refund"))
        assert await tail.wait() == 0
        lines = tail.output("out").splitlines()
    (order,) = [line for line in lines if "order" in line]
    (pay,) = [line for line in lines if "pay" in line]
    assert pay.index("pay") > order.index("order"), "drawn as a tree"
    assert "5.0ms" in pay
    assert any("refund" in line for line in lines)


async def test_tail_on_a_port_in_use_is_one_line_and_exit_1() -> None:
    async with await ChildProcess.broadaxe("traces", "tail", "--port", "0") as first:
        found = re.search(LISTENING, await first.wait_line(LISTENING))
        assert found
        port = found[1].rpartition(":")[2]
        async with await ChildProcess.broadaxe("traces", "tail", "--port", port) as second:
            assert await second.wait() == 1
            assert len(second.output("err").splitlines()) == 1
            assert port in second.output("err")
