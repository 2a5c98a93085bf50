"""Where a span stands in its trace: the context, its W3C text, and the ids that can be derived from rows."""

import re
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

TRACEPARENT_LIMIT = 256
"""Longest `traceparent` that is looked at; longer input is refused unread."""

ZERO_TRACE_ID = bytes(16)
ZERO_SPAN_ID = bytes(8)

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_ATTEMPT = 0xFFFFFFFF


class TraceContext(NamedTuple):
    """A place in a trace. An all-zero `span_id` means that nothing is above the next span."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes."""
    sampled: bool
    """Whether spans below are recorded."""


NO_CONTEXT = TraceContext(ZERO_TRACE_ID, ZERO_SPAN_ID, False)
"""The context of what is not recorded."""


def parse_traceparent(text: str | None) -> TraceContext | None:
    """The context in a W3C `traceparent`, or None when the value is not exactly one.

    The value comes from outside: upper case, surrounding blanks, all-zero ids, version `ff` and a version
    `00` with anything after the flags are refused. Of an unknown higher version the known first part is read,
    as the standard asks.
    """
    if text is None or not 55 <= len(text) <= TRACEPARENT_LIMIT:
        return None
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace, span, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    trace_id, span_id = bytes.fromhex(trace), bytes.fromhex(span)
    if trace_id == ZERO_TRACE_ID or span_id == ZERO_SPAN_ID:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def format_traceparent(context: TraceContext) -> str:
    """The context as a W3C `traceparent` of version 00."""
    return f"00-{context.trace_id.hex()}-{context.span_id.hex()}-{'01' if context.sampled else '00'}"


def run_trace_id(run: UUID) -> bytes:
    """The trace id of a run that came without a caller's trace; the same on every replica."""
    return sha256(b"hatchet-engine-wf-trace:" + run.bytes).digest()[:16]


def run_span_id(run: UUID) -> bytes:
    """The id of a run's own span."""
    return sha256(b"hatchet-engine-wf-span:" + run.bytes).digest()[:8]


def event_span_id(event: UUID) -> bytes:
    """The id under which the runs of a user event hang."""
    return sha256(b"hatchet-engine-evt-span:" + event.bytes).digest()[:8]


def _task_span_id(task: UUID, attempt: int, kind: bytes) -> bytes:
    if not 0 <= attempt <= _MAX_ATTEMPT:
        raise ValueError(f"attempt {attempt} is not an unsigned 32-bit number")
    label = b"hatchet-engine-sr-span:" + task.bytes + attempt.to_bytes(4, "big") + kind
    return sha256(label).digest()[:8]


# Asked for several times within a task's life: it is cheaper to remember than to hash.
@lru_cache(maxsize=4096)
def attempt_span_id(task: UUID, attempt: int) -> bytes:
    """The id of the span of one execution; the worker's spans hang under it. `attempt` counts from 0."""
    return _task_span_id(task, attempt, b"attempt")


def wait_span_id(task: UUID, attempt: int, item: int) -> bytes:
    """The id of the span of a sleep, or a wait for an event, before a step."""
    return _task_span_id(task, attempt, b"wait:%d" % item)


def step_span_id(task: UUID, attempt: int) -> bytes:
    """The id of the span of a step that was skipped or cancelled without a worker."""
    return _task_span_id(task, attempt, b"step")


def queue_span_id(task: UUID, attempt: int) -> bytes:
    """The id of the span of the wait before one execution."""
    return _task_span_id(task, attempt, b"queue-wait")
