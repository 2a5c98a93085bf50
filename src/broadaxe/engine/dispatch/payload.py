"""Builds the messages for a worker, by splicing bytes that were checked when they came in."""

import re
from uuid import UUID

import msgspec

from broadaxe.domain.task import TaskFacts
from broadaxe.engine.api import ActionKind, WorkerAction
from broadaxe.engine.scheduler.live import LiveTask, StepPlan

_BEFORE = b'{"input":'
_AFTER = (
    b',"triggered_by":"manual","parents":{},"triggers":{},"user_data":null,'
    b'"overrides":null,"step_run_errors":{}}'
)
_NO_TRIGGERS = b'"triggers":{}'
_KEY = b'"traceparent"'
_PAIR = re.compile(rb'("traceparent"\s*:\s*)"[^"\\]*"')


def start_payload(input: bytes, triggers: bytes | None = None) -> bytes:
    """The JSON text of a START: the input inside its envelope, with what started the task."""
    after = _AFTER if triggers is None else _AFTER.replace(_NO_TRIGGERS, b'"triggers":' + triggers)
    return _BEFORE + input + after


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


def start_action(live: LiveTask, input: bytes, traceparent: str | None) -> WorkerAction:
    """START for the attempt that is assigned; `traceparent` replaces the stored one when given."""
    metadata = live.facts.metadata
    if traceparent is not None:
        metadata = with_traceparent(metadata, traceparent)
    payload = start_payload(input, live.facts.triggers)
    return _action(live.facts, live.plan, ActionKind.START, live.status.attempt, payload, metadata)


def cancel_action(facts: TaskFacts, plan: StepPlan, attempt: int) -> WorkerAction:
    """CANCEL for one attempt."""
    return _action(facts, plan, ActionKind.CANCEL, attempt, b"", facts.metadata)


def _action(
    facts: TaskFacts, plan: StepPlan, kind: ActionKind, attempt: int, payload: bytes, metadata: bytes
) -> WorkerAction:
    step = plan.step
    parent: UUID | None = facts.parent_task_id
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
        child_index=facts.child_index,
        child_key=facts.child_key,
        created_at=facts.created_at,
    )
