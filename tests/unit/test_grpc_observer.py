"""What is recorded of a call, read back from the spans' bytes by the official decoder."""

from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import TenantId
from broadaxe.grpc_api.call import Call, Code
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.observer import TelemetryObserver
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.wire import dispatcher_pb2
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer

RUN = TraceContext(b"r" * 16, b"s" * 8, True)
TRACEPARENT = "00-" + "ab" * 16 + "-" + "cd" * 8


class _Metrics:
    enabled = True

    def __init__(self) -> None:
        self.records: list[tuple[Any, float, Any]] = []

    def record(self, metric: Any, value: float, labels: Any = ()) -> None:
        self.records.append((metric, value, labels))


class _Recorded:
    """An observer over a strict tracer, and the spans it emitted."""

    def __init__(self, ratio: float = 1.0, on: bool = True) -> None:
        self._bytes: list[bytes] = []
        sink = self._bytes.append if on else None
        tracer = Tracer(SystemClock(), SystemIds(), sink, Sampler(ratio), strict=True)
        self.metrics = _Metrics()
        self.observer = TelemetryObserver(tracer, self.metrics)

    @property
    def spans(self) -> list[Span]:
        # Each is the field of a ScopeSpans, ready to be joined with others.
        return list(ScopeSpans.FromString(b"".join(self._bytes)).spans)


@pytest.fixture
def method() -> Method:
    service = dispatcher_pb2.DESCRIPTOR.services_by_name["Dispatcher"]
    methods = service_methods(service, {}, RateGroup.DISPATCHER)
    return next(method for method in methods if method.name == "Register")


def _call(traceparent: str | None = None) -> Call:
    call = Call("/Dispatcher/Register", {} if traceparent is None else {"traceparent": traceparent})
    call.tenant = TenantId(UUID(int=7))
    return call


def _attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def test_traced_without_a_caller_is_a_root_with_the_attributes(method: Method) -> None:
    recorded = _Recorded()
    recorded.observer.traced(method, _call(), Code.OK, 10, 20)
    (span,) = recorded.spans
    assert span.name == "hatchet.run/Dispatcher/Register"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (10, 20)
    assert span.parent_span_id == b""
    assert span.status.code == 0
    assert _attributes(span) == {
        "rpc.system": "grpc",
        "rpc.service": "Dispatcher",
        "rpc.method": "Register",
        "rpc.grpc.status_code": 0,
        "hatchet.run/tenant.id": str(UUID(int=7)),
    }


def test_traced_with_a_caller_hangs_under_it(method: Method) -> None:
    recorded = _Recorded()
    recorded.observer.traced(method, _call(TRACEPARENT + "-01"), Code.OK, 10, 20)
    (span,) = recorded.spans
    assert (span.trace_id, span.parent_span_id) == (b"\xab" * 16, b"\xcd" * 8)


def test_traced_with_a_chosen_parent_hangs_under_that(method: Method) -> None:
    recorded = _Recorded()
    call = _call(TRACEPARENT + "-01")
    call.trace_parent(RUN)
    recorded.observer.traced(method, call, Code.OK, 10, 20)
    (span,) = recorded.spans
    assert (span.trace_id, span.parent_span_id) == (RUN.trace_id, RUN.span_id)


def test_traced_caller_or_chosen_parent_unsampled_records_nothing(method: Method) -> None:
    recorded = _Recorded()
    recorded.observer.traced(method, _call(TRACEPARENT + "-00"), Code.OK, 10, 20)
    chosen = _call(TRACEPARENT + "-01")
    chosen.trace_parent(RUN._replace(sampled=False))
    recorded.observer.traced(method, chosen, Code.OK, 10, 20)
    assert recorded.spans == []


@pytest.mark.parametrize("recorded", [_Recorded(ratio=0.0), _Recorded(on=False)], ids=["ratio 0", "off"])
def test_traced_when_nothing_is_sampled_records_nothing(method: Method, recorded: _Recorded) -> None:
    recorded.observer.traced(method, _call(TRACEPARENT + "-01"), Code.OK, 10, 20)
    assert recorded.spans == []


@pytest.mark.parametrize("code", list(Code))
def test_traced_marks_only_faults_of_the_server(method: Method, code: Code) -> None:
    recorded = _Recorded()
    recorded.observer.traced(method, _call(), code, 10, 20)
    (span,) = recorded.spans
    faults = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
    assert _attributes(span).get("error.type") == (code.name if code.name in faults else None)
    assert (span.status.code == 2) == (code.name in faults)


def test_measured_records_seconds_with_method_and_code(method: Method) -> None:
    recorded = _Recorded()
    recorded.observer.measured(method, Code.OK, 0.5)
    recorded.observer.measured(method, Code.INTERNAL, 1.5)
    (_, seconds, labels), (metric, _, failed) = recorded.metrics.records
    assert (metric, seconds) == (T.METRIC_RPC_SERVER_DURATION, 0.5)
    assert {label.name: value for label, value in labels} == {
        "rpc.system": "grpc",
        "rpc.method": "Dispatcher/Register",
        "rpc.grpc.status_code": 0,
    }
    assert {label.name: value for label, value in failed}["error.type"] == "INTERNAL"
    assert set(dict(failed)) <= set(T.METRIC_RPC_SERVER_DURATION.labels)


def test_open_streams_counts_what_is_open(method: Method) -> None:
    recorded = _Recorded()
    recorded.observer.stream_began(method)
    recorded.observer.stream_began(method)
    recorded.observer.stream_ended(method)
    assert list(recorded.observer.open_streams()) == [(1, ((T.LABEL_KIND, "Register"),))]
