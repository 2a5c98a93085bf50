"""Spans as OTLP bytes, joined by hand: the official encoder costs more than the work it would describe.

Tests hold every output to the official protobuf decoder.
"""

from collections.abc import Iterable, Mapping
from struct import Struct

from broadaxe.telemetry.context import ZERO_SPAN_ID, TraceContext
from broadaxe.telemetry.vocabulary import Attr, AttrValue, EventName, SpanName, encode_value
from broadaxe.telemetry.wire import delimited, pack_u64, utf8, varint

Pair = tuple[Attr, AttrValue]

MESSAGE_LIMIT = 1024
"""Longest status message in bytes."""

_pack_times = Struct("<BQBQ").pack
# Field 16, fixed32: the sampled flag; and with "known not to be remote" (bit 8) for a parent in this process.
FLAGS_PLAIN = b"\x85\x01\x01\x00\x00\x00"
FLAGS_LOCAL = b"\x85\x01\x01\x01\x00\x00"
_STATUS_ERROR = b"\x18\x02"


def _retagged(pairs: Iterable[Pair], tag: bytes) -> bytes:
    """Attribute pairs for a message whose attributes are not field 9."""
    return b"".join([tag + attr.encode(value)[1:] for attr, value in pairs])


def encode_link(context: TraceContext, pairs: Iterable[Pair] = ()) -> bytes:
    """Field 13 of a span: a link to another span."""
    body = b"\x0a\x10" + context.trace_id + b"\x12\x08" + context.span_id + _retagged(pairs, b"\x22")
    return delimited(b"\x6a", body + (b"\x35\x01\x00\x00\x00" if context.sampled else b""))


def encode_event(name: EventName, time_ns: int, pairs: Iterable[Pair] = ()) -> bytes:
    """Field 11 of a span: something that happened at a moment."""
    return delimited(b"\x5a", b"\x09" + pack_u64(time_ns) + name.head + _retagged(pairs, b"\x1a"))


def encode_status(message: str | None) -> bytes:
    """Field 15 of a span: the status error, with a message for people."""
    if not message:
        return b"\x7a\x02" + _STATUS_ERROR
    return delimited(b"\x7a", delimited(b"\x12", utf8(message, MESSAGE_LIMIT)) + _STATUS_ERROR)


def encode_dropped(links: int, events: int) -> bytes:
    """Fields 12 and 14 of a span: how many events and links went beyond its limits."""
    out = b"\x60" + varint(events) if events else b""
    return out + b"\x70" + varint(links) if links else out


def encode_span(
    name: SpanName,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    start_ns: int,
    end_ns: int,
    attributes: Mapping[Attr, AttrValue],
    extra: bytes,
    flags: bytes,
) -> bytes:
    """A whole span as field 2 of ScopeSpans, so that a batch is these bytes joined.

    `extra` holds already encoded links, events, status and counts; an all-zero `parent_id` makes a root.
    """
    if end_ns < start_ns:
        end_ns = start_ns  # a clock that was set back must not make a negative duration
    pairs = b"".join([attr.encode(value) for attr, value in attributes.items()])
    parent = b"" if parent_id == ZERO_SPAN_ID else b"\x22\x08" + parent_id
    times = _pack_times(0x39, start_ns, 0x41, end_ns)
    body = b"".join(
        (b"\x0a\x10", trace_id, b"\x12\x08", span_id, parent, name.head, times, pairs, extra, flags)
    )
    return b"\x12" + varint(len(body)) + body


def _key_value(key: str, value: AttrValue) -> bytes:
    return delimited(b"\x0a", utf8(key, MESSAGE_LIMIT)) + delimited(b"\x12", encode_value(value))


def encode_resource(attributes: Mapping[str, AttrValue]) -> bytes:
    """Field 1 of ResourceSpans."""
    pairs = [delimited(b"\x0a", _key_value(key, value)) for key, value in attributes.items()]
    return delimited(b"\x0a", b"".join(pairs))


class Envelope:
    """What surrounds the spans of a batch: resource, scope and schema, encoded once."""

    __slots__ = ("_resource", "_schema", "_scope")

    def __init__(self, resource: Mapping[str, AttrValue], scope: str, version: str, schema_url: str) -> None:
        self._resource = encode_resource(resource)
        name = delimited(b"\x0a", utf8(scope, MESSAGE_LIMIT))
        self._scope = delimited(b"\x0a", name + delimited(b"\x12", utf8(version, MESSAGE_LIMIT)))
        self._schema = delimited(b"\x1a", utf8(schema_url, MESSAGE_LIMIT))

    def wrap(self, spans: list[bytes]) -> bytes:
        """An ExportTraceServiceRequest of these encoded spans."""
        scope_spans = delimited(b"\x12", b"".join((self._scope, *spans, self._schema)))
        return delimited(b"\x0a", b"".join((self._resource, scope_spans, self._schema)))
