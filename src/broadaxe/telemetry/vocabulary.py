"""What a telemetry name is: the classes that the generated `names.py` instantiates.

A name is declared once, in `contract.yaml`, and carries its bytes on the wire ready-made, because the
recorder's budget is a few microseconds a span. Only `names.py` makes these objects.
"""

import re
from enum import IntEnum
from struct import Struct

from broadaxe.telemetry.wire import delimited, utf8, varint

AttrValue = str | int | float | bool

VALUE_LIMIT = 8192
"""Longest attribute value in bytes of UTF-8; more is cut."""

_SHORT = 96
_CACHED_VALUES = 1024
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_pack_double = Struct("<d").pack


class SpanKind(IntEnum):
    """OTLP's span kinds."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Attr:
    """A declared attribute: its key, the type of its values, and how it is written as an OTLP KeyValue."""

    __slots__ = ("_heads", "_key", "_values", "name", "type")

    def __init__(self, name: str, type_: type[AttrValue], cached: bool) -> None:
        self.name = name
        self.type = type_
        self._key = delimited(b"\x0a", name.encode())
        self._heads: list[bytes] = [self._head(size) for size in range(_SHORT)]
        # Only attributes with few values keep their encoded pairs; ids would fill the table for nothing.
        # The table holds the declared type alone, since 1 == True; and no floats, since 0.0 == -0.0.
        self._values: dict[AttrValue, bytes] | None = {} if cached and type_ is not float else None

    def __repr__(self) -> str:
        return f"Attr({self.name!r})"

    def _head(self, size: int) -> bytes:
        value_size = 1 + len(varint(size)) + size
        body = len(self._key) + 1 + len(varint(value_size)) + value_size
        return b"\x4a" + varint(body) + self._key + b"\x12" + varint(value_size) + b"\x0a" + varint(size)

    def encode(self, value: AttrValue) -> bytes:
        """The pair as field 9 of an OTLP span (tag, length, KeyValue); never raises on an odd value."""
        values = self._values
        if values is not None and value.__class__ is self.type:
            return values.get(value) or self._remember(values, value)
        if isinstance(value, str) and value.isascii() and (size := len(value)) < _SHORT:
            return self._heads[size] + value.encode()
        return self._encode(value)

    def _remember(self, values: dict[AttrValue, bytes], value: AttrValue) -> bytes:
        pair = self._encode(value)
        if len(values) < _CACHED_VALUES and len(pair) < 512:
            values[value] = pair
        return pair

    def _encode(self, value: AttrValue) -> bytes:
        return delimited(b"\x4a", self._key + delimited(b"\x12", encode_value(value)))


def encode_value(value: AttrValue) -> bytes:
    """A value as an OTLP AnyValue; anything but str, int, float and bool is written as its text."""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
        return b"\x18" + varint(value if value >= 0 else value + (1 << 64))
    if isinstance(value, float):
        return b"\x21" + _pack_double(value)
    return delimited(b"\x0a", utf8(str(value), VALUE_LIMIT))


class SpanName:
    """A declared span: its name, its kind and the attributes it may carry."""

    __slots__ = ("attributes", "head", "kind", "name")

    def __init__(self, name: str, kind: SpanKind, attributes: frozenset[Attr]) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.head = delimited(b"\x2a", utf8(name, 1024)) + b"\x30" + varint(int(kind))
        """Fields 5 and 6 of an OTLP span."""

    def __repr__(self) -> str:
        return f"SpanName({self.name!r})"


class SpanTemplate:
    """A family of span names declared by pattern; each pair of parts gives one cached `SpanName`."""

    __slots__ = ("_limit", "_names", "_prefix", "_separator", "attributes", "kind", "pattern")

    OTHER = "_OTHER"
    """Stands for both parts when the family is full, so that a name never grows with untrusted input."""

    def __init__(
        self, prefix: str, separator: str, kind: SpanKind, attributes: frozenset[Attr], limit: int
    ) -> None:
        self._prefix = prefix
        self._separator = separator
        self._limit = limit
        self._names: dict[tuple[str, str], SpanName] = {}
        self.kind = kind
        self.attributes = attributes
        self.pattern = f"{re.escape(prefix)}[^{separator}]+({separator}.+)?"
        """A regular expression that every name of the family matches."""

    def __call__(self, first: str, second: str) -> SpanName:
        """The name for these parts; an empty second part leaves out the separator too."""
        found = self._names.get((first, second))
        return found if found is not None else self._make(first, second)

    def _make(self, first: str, second: str) -> SpanName:
        if len(self._names) >= self._limit:
            first, second = self.OTHER, ""
            found = self._names.get((first, second))
            if found is not None:
                return found
        text = self._prefix + first + (self._separator + second if second else "")
        name = self._names[(first, second)] = SpanName(text, self.kind, self.attributes)
        return name


class EventName:
    """A declared span event and the attributes it may carry."""

    __slots__ = ("attributes", "head", "name")

    def __init__(self, name: str, attributes: frozenset[Attr]) -> None:
        self.name = name
        self.attributes = attributes
        self.head = delimited(b"\x12", name.encode())

    def __repr__(self) -> str:
        return f"EventName({self.name!r})"


class Label:
    """A declared metric label and how many values it may take."""

    __slots__ = ("cardinality", "name")

    def __init__(self, name: str, cardinality: int) -> None:
        self.name = name
        self.cardinality = cardinality

    def __repr__(self) -> str:
        return f"Label({self.name!r})"


class MetricKind(IntEnum):
    """What an instrument counts; observed ones are read when metrics are collected."""

    COUNTER = 1
    UPDOWN = 2
    HISTOGRAM = 3
    OBSERVED_GAUGE = 4
    OBSERVED_COUNTER = 5


class Metric:
    """A declared instrument."""

    __slots__ = (
        "bounds",
        "description",
        "kind",
        "labels",
        "name",
        "prometheus",
        "series",
        "split_label",
        "split_names",
        "unit",
    )

    def __init__(
        self,
        name: str,
        kind: MetricKind,
        unit: str,
        description: str,
        *,
        labels: tuple[Label, ...] = (),
        bounds: tuple[float, ...] = (),
        prometheus: str,
        split_label: Label | None = None,
        split_names: tuple[tuple[str, str], ...] = (),
        series: int,
    ) -> None:
        self.name = name
        self.kind = kind
        self.unit = unit
        self.description = description
        self.labels = labels
        self.bounds = bounds
        self.prometheus = prometheus
        self.split_label = split_label
        self.split_names = dict(split_names)
        self.series = series
        """Label sets the instrument keeps; further ones are counted in the overflow set."""

    def __repr__(self) -> str:
        return f"Metric({self.name!r})"
