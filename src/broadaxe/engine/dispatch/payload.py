"""Builds the messages for a worker, by splicing bytes that were checked when they came in."""

import json
import re
from collections.abc import Mapping
from uuid import UUID

import msgspec

from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import TaskFacts
from broadaxe.engine.api import ActionKind, WorkerAction
from broadaxe.engine.scheduler.live import LiveTask, StepPlan

_BEFORE = b'{"input":'
_AFTER = (
    b',"triggered_by":"manual","parents":{},"triggers":{},"user_data":null,'
    b'"overrides":null,"step_run_errors":{}}'
)
_PARENTS = b',"triggered_by":"manual","parents":'
_TRIGGERS = b',"triggers":'
_ERRORS = b',"user_data":null,"overrides":null,"step_run_errors":'
_KEY = b'"traceparent"'
_PAIR = re.compile(rb'("traceparent"\s*:\s*)"[^"\\]*"')


def start_payload(
    input: bytes,
    parents: Mapping[str, bytes] | None = None,
    triggers: Mapping[str, bytes] | None = None,
    errors: Mapping[str, bytes] | None = None,
) -> bytes:
    """The JSON text of a START: the input inside its envelope.

    Of a step in a run also its parents' outputs and what met its conditions, JSON texts by name that are put
    in as they are, and the error texts of failed steps.
    """
    if not parents and not triggers and not errors:
        return _BEFORE + input + _AFTER
    texts = {name: _text(error) for name, error in (errors or {}).items()}
    parts = (
        _BEFORE,
        input,
        _PARENTS,
        _object(parents),
        _TRIGGERS,
        _object(triggers),
        _ERRORS,
        _object(texts),
    )
    return b"".join(parts) + b"}"


def object_members(text: bytes | None) -> dict[str, bytes]:
    """The members of an object, each as its own text."""
    if not text:
        return {}
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in members.items()}


def _object(members: Mapping[str, bytes] | None) -> bytes:
    """An object of JSON texts."""
    pairs = (json.dumps(name).encode() + b":" + value for name, value in (members or {}).items())
    return b"{" + b",".join(pairs) + b"}"


def _text(error: bytes) -> bytes:
    """An error as a JSON text; bytes that are not UTF-8 are replaced."""
    return json.dumps(error.decode(errors="replace")).encode()


def with_traceparent(metadata: bytes, traceparent: str) -> bytes:
    """The metadata with only its `traceparent` replaced or added; the rest stays as it is."""
    value = b'"' + traceparent.encode() + b'"'
    if metadata.count(_KEY) == 1:
        pair = _PAIR.search(metadata)
        if pair is not None and _only_top_level(metadata):
            return metadata[: pair.end(1)] + value + metadata[pair.end() :]
    members: dict[str, msgspec.Raw] = msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])
    members["traceparent"] = msgspec.Raw(value)
    return msgspec.json.encode(members)


def _only_top_level(metadata: bytes) -> bool:
    """Whether no object is nested, so that the one `traceparent` is the object's own."""
    return metadata.count(b"{") == 1


def start_action(live: LiveTask, payload: bytes, traceparent: str | None) -> WorkerAction:
    """START for the attempt that is assigned; `traceparent` replaces the stored one when given."""
    metadata = live.facts.metadata
    if traceparent is not None:
        metadata = with_traceparent(metadata, traceparent)
    origin = None if live.run is None else live.run.facts
    return _action(live.facts, live.plan, ActionKind.START, live.status.attempt, payload, metadata, origin)


def cancel_action(facts: TaskFacts, plan: StepPlan, attempt: int) -> WorkerAction:
    """CANCEL for one attempt."""
    return _action(facts, plan, ActionKind.CANCEL, attempt, b"", facts.metadata)


def _action(
    facts: TaskFacts,
    plan: StepPlan,
    kind: ActionKind,
    attempt: int,
    payload: bytes,
    metadata: bytes,
    run: RunFacts | None = None,
) -> WorkerAction:
    step = plan.step
    # A spawned run says so in the START of each of its steps.
    origin = facts if run is None else run
    parent: UUID | None = origin.parent_task_id
    return WorkerAction(
        kind=kind,
        tenant_id=facts.tenant_id,
        run_id=facts.run_id,
        task_id=facts.id,
        step_id=facts.step_id,
        step_name=step.name,
        action=step.action,
        attempt=attempt,
        payload=payload,
        metadata=metadata or None,
        priority=facts.priority,
        workflow_id=facts.workflow_id,
        version_id=facts.version_id,
        parent_task_id=parent,
        child_index=origin.child_index,
        child_key=origin.child_key,
        created_at=facts.created_at,
    )
