import hashlib
from uuid import UUID

import pytest

from broadaxe.telemetry.context import (
    TraceContext,
    attempt_span_id,
    event_span_id,
    format_traceparent,
    parse_traceparent,
    queue_span_id,
    run_span_id,
    run_trace_id,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
RUN = UUID("0190a7a0-1111-7222-8333-444455556666")


def test_parse_traceparent_valid_returns_the_context() -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert context == TraceContext(bytes.fromhex(TRACE), bytes.fromhex(SPAN), True)
    assert format_traceparent(context) == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_parse_traceparent_flags_only_bit_zero_counts(flags: str, sampled: bool) -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.sampled is sampled


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0g-{TRACE}-{SPAN}-01",
        f"00_{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}٠-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01x",
        f"01-{TRACE}-{SPAN}-01-" + "x" * 300,
    ],
)
def test_parse_traceparent_invalid_returns_none(text: str | None) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("rest", ["", "-", "-what-comes-later"])
def test_parse_traceparent_higher_version_reads_the_first_part(rest: str) -> None:
    context = parse_traceparent(f"cc-{TRACE}-{SPAN}-01{rest}")
    assert context is not None
    assert context.trace_id.hex() == TRACE


def test_derived_ids_follow_the_documented_digests() -> None:
    assert run_trace_id(RUN) == hashlib.sha256(b"hatchet-engine-wf-trace:" + RUN.bytes).digest()[:16]
    assert run_span_id(RUN) == hashlib.sha256(b"hatchet-engine-wf-span:" + RUN.bytes).digest()[:8]
    assert event_span_id(RUN) == hashlib.sha256(b"hatchet-engine-evt-span:" + RUN.bytes).digest()[:8]


def test_derived_ids_differ_by_task_attempt_and_kind() -> None:
    given = {function(RUN, attempt) for function in (attempt_span_id, queue_span_id) for attempt in range(50)}
    assert len(given) == 100
    assert attempt_span_id(RUN, 3) == attempt_span_id(UUID(str(RUN)), 3)


@pytest.mark.parametrize("attempt", [-1, 1 << 32])
def test_attempt_span_id_outside_uint32_raises(attempt: int) -> None:
    with pytest.raises(ValueError, match="32-bit"):
        attempt_span_id(RUN, attempt)
