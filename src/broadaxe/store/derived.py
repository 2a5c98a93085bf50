"""What the rows of runs and tasks leave out, since it follows from the run's id: a quarter of a small row.

A run without a caller is the root of its own trace, whose id is made from the run's: its row keeps one byte
of flags in place of the 25 of a trace. The `traceparent` that the engine added to the metadata is left out
too (a flag says so), so that what is stored is the object as its caller gave it. What is read is what was
written, byte for byte: whatever would not come back the same is stored whole.
"""

from typing import Final
from uuid import UUID

from broadaxe.domain.metadata import TRACEPARENT, add_keys
from broadaxe.telemetry.context import (
    ZERO_SPAN_ID,
    TraceContext,
    format_traceparent,
    run_span_id,
    run_trace_id,
)

_SAMPLED: Final = 1
_NO_TRACEPARENT: Final = 2
_FLAGS_AT: Final = 24
"""Of a whole trace: 16 bytes of trace id, 8 of the span above, then the flags."""
_KEY: Final = f'"{TRACEPARENT}":"'.encode()


def to_row(metadata: bytes, trace: bytes, run_id: UUID) -> tuple[bytes, bytes]:
    """Metadata and trace as they are stored."""
    flags = trace[_FLAGS_AT]
    if flags & ~_SAMPLED:
        raise ValueError(f"unknown flags of a trace: {flags}")
    if _KEY in metadata:
        member = _member(trace[:16], run_id)
        given = _without(metadata, member)
        if given is not None and _with(given, member) == metadata:
            metadata, flags = given, flags | _NO_TRACEPARENT
    mark = bytes((flags,))
    if trace[16:24] == ZERO_SPAN_ID and trace[:16] == run_trace_id(run_id):
        return metadata, mark
    return metadata, trace[:_FLAGS_AT] + mark


def from_row(metadata: bytes, trace: bytes, run_id: UUID) -> tuple[bytes, bytes]:
    """Metadata and trace as they were before `to_row`."""
    flags = trace[-1]
    place = trace[:-1] or run_trace_id(run_id) + ZERO_SPAN_ID
    if flags & _NO_TRACEPARENT:
        metadata = _with(metadata, _member(place[:16], run_id))
    return metadata, place + bytes((flags & _SAMPLED,))


def _member(trace_id: bytes, run_id: UUID) -> str:
    """What the engine adds as `traceparent`: the run's own span, as sampled as its clients expect it."""
    return format_traceparent(TraceContext(trace_id, run_span_id(run_id), True))


def _with(metadata: bytes, value: str) -> bytes:
    return add_keys(metadata, {TRACEPARENT: value})


def _without(metadata: bytes, value: str) -> bytes | None:
    """The object before the engine added its `traceparent`; None when it is not there."""
    member = _KEY + value.encode() + b'"'
    at = metadata.rfind(member)
    if at < 0:
        return None
    before = metadata[:at]
    return (before[:-1] if before.endswith(b",") else before) + metadata[at + len(member) :]
