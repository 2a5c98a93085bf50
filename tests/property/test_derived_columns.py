"""What rows leave out comes back byte for byte."""

import json
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from broadaxe.domain.metadata import TRACEPARENT, add_keys
from broadaxe.store.derived import from_row, to_row
from broadaxe.telemetry.context import TraceContext, format_traceparent, run_span_id, run_trace_id

RUN = UUID(int=7)
ROOT = run_trace_id(RUN) + bytes(8)
CALLERS = bytes(range(16)) + b"\x09" * 8
ADDED = format_traceparent(TraceContext(ROOT[:16], run_span_id(RUN), True))

keys = st.text(max_size=5) | st.sampled_from([TRACEPARENT, "team"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([ADDED, ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)
spaces = st.sampled_from(["", " ", "\n", "\t "])


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """JSON objects as callers may write them, with blanks where they may be and keys that come twice."""
    pairs = draw(st.lists(st.tuples(keys, values), max_size=3))
    text = ("," + draw(spaces)).join(
        json.dumps(key) + draw(spaces) + ":" + draw(spaces) + json.dumps(value) for key, value in pairs
    )
    before, after, inside = draw(spaces), draw(spaces), draw(spaces)
    return f"{before}{{{inside}{text}{draw(spaces)}}}{after}".encode()


@given(
    objects() | st.just(b""),
    st.sampled_from([ROOT, CALLERS, ROOT[:16] + b"\x01" * 8, CALLERS[:16] + bytes(8)]),
    st.booleans(),
    st.booleans(),
)
@example(b'{"a":1,}', ROOT, True, True)
@example(f'{{"x":{{"{TRACEPARENT}":"{ADDED}"}}}}'.encode(), ROOT, True, False)
def test_what_is_read_is_what_was_written(given_: bytes, place: bytes, sampled: bool, added: bool) -> None:
    metadata = given_
    if added:
        own = format_traceparent(TraceContext(place[:16], run_span_id(RUN), True))
        metadata = add_keys(given_, {TRACEPARENT: own})
    trace = place + bytes((sampled,))
    stored = to_row(metadata, trace, RUN)
    assert from_row(*stored, RUN) == (metadata, trace)
    assert len(stored[0]) <= len(metadata)
    assert len(stored[1]) == (1 if place == ROOT else 25)


@given(objects())
def test_what_the_engine_added_is_not_stored(given_: bytes) -> None:
    metadata = add_keys(given_, {TRACEPARENT: ADDED})
    stored, trace = to_row(metadata, ROOT + b"\x01", RUN)
    assert stored == given_
    assert len(trace) == 1


def test_traceparent_of_another_run_is_stored() -> None:
    other = format_traceparent(TraceContext(ROOT[:16], run_span_id(UUID(int=8)), True))
    metadata = add_keys(b"{}", {TRACEPARENT: other})
    assert to_row(metadata, ROOT + b"\x00", RUN) == (metadata, b"\x00")
