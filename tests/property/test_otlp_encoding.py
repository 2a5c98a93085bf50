"""What our encoder writes is what the official protobuf messages say."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.encode import (
    FLAGS_LOCAL,
    FLAGS_PLAIN,
    Envelope,
    encode_dropped,
    encode_event,
    encode_link,
    encode_span,
    encode_status,
)
from broadaxe.telemetry.vocabulary import VALUE_LIMIT, Attr, AttrValue, encode_value
from broadaxe.telemetry.wire import varint

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = st.one_of(TEXT, INT64, st.floats(allow_nan=False), st.booleans())
ATTRIBUTES = st.dictionaries(st.sampled_from(T.ATTRS), VALUES, max_size=12)
TIMES = st.integers(1, (1 << 63) - 1)
TRACE_IDS = st.binary(min_size=16, max_size=16).filter(any)
SPAN_IDS = st.binary(min_size=8, max_size=8).filter(any)
CONTEXTS = st.builds(TraceContext, TRACE_IDS, SPAN_IDS, st.booleans())
NAMES = st.one_of(
    st.sampled_from(T.SPANS),
    st.builds(T.db_span, st.sampled_from(["SELECT", "COPY", "BEGIN"]), st.just("task")),
)


def any_value(value: AttrValue) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=value)


def pairs(attributes: dict[Attr, AttrValue]) -> list[KeyValue]:
    return [KeyValue(key=attr.name, value=any_value(value)) for attr, value in attributes.items()]


@given(
    NAMES,
    TRACE_IDS,
    SPAN_IDS,
    st.one_of(st.just(bytes(8)), SPAN_IDS),
    TIMES,
    TIMES,
    ATTRIBUTES,
    st.lists(st.tuples(CONTEXTS, ATTRIBUTES), max_size=4),
    st.lists(st.tuples(st.sampled_from(T.EVENTS), TIMES, ATTRIBUTES), max_size=4),
    st.one_of(st.none(), TEXT),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_encode_span_any_span_equals_the_official_message(
    name, trace_id, span_id, parent, start, end, attributes, links, events, message, local, dropped
) -> None:
    extra = b"".join(encode_link(context, given.items()) for context, given in links)
    extra += b"".join(encode_event(event, time, given.items()) for event, time, given in events)
    if message is not None:
        extra += encode_status(message)
    extra += encode_dropped(dropped, dropped)
    flags = FLAGS_LOCAL if local else FLAGS_PLAIN
    body = encode_span(name, trace_id, span_id, parent, start, end, attributes, extra, flags)
    batch = Envelope({"service.name": "é", "n": 5}, "broadaxe", "1", "schema").wrap([body, body])

    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add(schema_url="schema")
    resource_spans.resource.attributes.extend(
        [
            KeyValue(key="service.name", value=AnyValue(string_value="é")),
            KeyValue(key="n", value=AnyValue(int_value=5)),
        ]
    )
    scope_spans = resource_spans.scope_spans.add(schema_url="schema")
    scope_spans.scope.name, scope_spans.scope.version = "broadaxe", "1"
    span = Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent if any(parent) else b"",
        name=name.name,
        kind=int(name.kind),
        start_time_unix_nano=start,
        end_time_unix_nano=max(start, end),
        attributes=pairs(attributes),
        links=[
            Span.Link(
                trace_id=context.trace_id,
                span_id=context.span_id,
                attributes=pairs(given),
                flags=int(context.sampled),
            )
            for context, given in links
        ],
        events=[
            Span.Event(name=event.name, time_unix_nano=time, attributes=pairs(given))
            for event, time, given in events
        ],
        dropped_links_count=dropped,
        dropped_events_count=dropped,
        flags=0x101 if local else 1,
    )
    if message is not None:
        cut = message.encode()[:1024].decode(errors="ignore")
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=cut))
    scope_spans.spans.extend([span, span])
    assert ExportTraceServiceRequest.FromString(batch) == request


@given(st.one_of(st.text(max_size=50), st.integers(), st.floats()))
def test_encode_value_odd_values_still_decode(value: AttrValue) -> None:
    decoded = AnyValue.FromString(encode_value(value))
    assert decoded.WhichOneof("value") is not None


def test_encode_value_long_text_is_cut_at_a_character() -> None:
    decoded = AnyValue.FromString(encode_value("é" * VALUE_LIMIT))
    assert decoded.string_value == "é" * (VALUE_LIMIT // 2)


@given(st.text(max_size=200))
def test_attr_encode_cached_and_plain_agree(text: str) -> None:
    cached, plain = Attr("k", str, True), Attr("k", str, False)
    assert cached.encode(text) == plain.encode(text) == cached.encode(text)


@given(st.lists(st.sampled_from([0, 1, False, True, 0.0, -0.0, 1.0, "1", ""]), max_size=20))
def test_attr_encode_equal_values_of_other_types_keep_their_type(values: list[AttrValue]) -> None:
    for type_ in (int, bool, float, str):
        attr = Attr("k", type_, True)
        for value in values:
            decoded = KeyValue.FromString(attr.encode(value)[2:])
            assert repr(decoded) == repr(KeyValue(key="k", value=any_value(value)))


@given(st.integers(0, (1 << 64) - 1))
def test_varint_any_number_reads_back(number: int) -> None:
    value = sum((byte & 127) << (7 * place) for place, byte in enumerate(varint(number)))
    assert value == number
