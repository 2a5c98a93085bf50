"""From a request to a task: priority, metadata, trace, needs. Nothing here waits for anything."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.ids import RunId, StepId, TaskId, TenantId
from broadaxe.domain.labels import decode_requests, encode_requests, label_problem
from broadaxe.domain.metadata import (
    PARENT_RUN,
    PARENT_TASK,
    TRACEPARENT,
    add_keys,
    inherit,
    read_traceparent,
    require_metadata,
)
from broadaxe.domain.payloads import require_object
from broadaxe.domain.task import TaskFacts, TaskState, TaskStatus
from broadaxe.engine.api import Origin, Trigger
from broadaxe.engine.context import EngineContext, EngineOptions
from broadaxe.engine.scheduler.live import Need, StepPlan
from broadaxe.engine.tracing import attempt_context, place_of_run
from broadaxe.store.ledger import ChildClaim
from broadaxe.telemetry.context import (
    TraceContext,
    format_traceparent,
    parse_traceparent,
    run_span_id,
)
from broadaxe.telemetry.tracer import Tracer

PRIORITIES = range(1, 4)
_KEY_LIMIT = 1_024


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that spawns a child."""

    facts: TaskFacts
    attempt: int


def check(trigger: Trigger, options: EngineOptions) -> None:
    """Raise InvalidArgument naming the field of a request that can never be right."""
    if len(trigger.input) > options.payload_limit:
        raise InvalidArgument(f"input: larger than {options.payload_limit} bytes")
    require_object("input", trigger.input)
    if trigger.metadata is not None and len(trigger.metadata) > options.metadata_limit:
        raise InvalidArgument(f"additional_metadata: larger than {options.metadata_limit} bytes")
    require_metadata(trigger.metadata)
    if trigger.priority is not None and trigger.priority not in PRIORITIES:
        raise InvalidArgument(f"priority: must be 1, 2 or 3, not {trigger.priority}")
    if trigger.child_key is not None and ("\x00" in trigger.child_key or len(trigger.child_key) > _KEY_LIMIT):
        raise InvalidArgument(f"child_key: at most {_KEY_LIMIT} characters, without U+0000")
    for request in trigger.desired_labels or ():
        problem = label_problem(request)
        if problem is not None:
            raise InvalidArgument(f"desired_worker_labels: {problem}")


def claim_of(trigger: Trigger, position: int = 0) -> ChildClaim | None:
    """The dedupe key of a spawned child: the step's position in its workflow, and its key or index."""
    if trigger.parent_task_id is None:
        return None
    if trigger.child_key:
        return ChildClaim(trigger.parent_task_id, f"{position}:k:{trigger.child_key}")
    if trigger.child_index is not None:
        return ChildClaim(trigger.parent_task_id, f"{position}:i:{trigger.child_index}")
    return None


def need_of(plan: StepPlan, facts: TaskFacts) -> Need:
    """What the task asks of a worker: the step's wishes unless its trigger had its own."""
    need = plan.need
    if facts.desired_labels is not None and need.sticky is None:
        need = replace(need, labels=decode_requests(facts.desired_labels))
    if facts.desired_worker_id is not None:
        need = replace(need, desired_worker_id=facts.desired_worker_id)
    return need


class Planner:
    """Turns checked requests into tasks."""

    def __init__(self, context: EngineContext) -> None:
        self._ids = context.ids
        self._tracer: Tracer = context.tracer

    def facts(
        self,
        tenant_id: TenantId,
        trigger: Trigger,
        plan: StepPlan,
        parent: Parent | None,
        origin: Origin,
        now: datetime,
        rooted: bool = False,
    ) -> TaskFacts:
        """The task's facts. The one place where it is decided whether its trace is recorded.

        `rooted`: the run is the root of its own trace, whatever its metadata name.
        """
        task_id = TaskId(self._ids.uuid7())
        run_id = RunId(task_id)
        version = plan.version
        priority = trigger.priority or version.definition.default_priority or 1
        own = None if rooted else parse_traceparent(read_traceparent(trigger.metadata))
        caller = trigger.cause.place if trigger.cause is not None else own or origin.caller
        trace = self._trace(task_id, caller, None if rooted else parent)
        parent_run_id = trigger.parent_run_id or (parent.facts.run_id if parent is not None else None)
        return TaskFacts(
            tenant_id=tenant_id,
            id=task_id,
            run_id=run_id,
            workflow_id=version.workflow_id,
            version_id=version.version_id,
            step_id=_step_id(plan),
            priority=priority,
            created_at=now,
            input=trigger.input,
            metadata=_metadata(trigger, parent, parent_run_id, own, trace, run_id),
            trace=trace.trace_id + trace.span_id + (b"\x01" if trace.sampled else b"\x00"),
            parent_task_id=trigger.parent_task_id,
            parent_run_id=parent_run_id,
            child_index=trigger.child_index,
            child_key=trigger.child_key,
            desired_worker_id=trigger.desired_worker_id,
            desired_labels=encode_requests(trigger.desired_labels) if trigger.desired_labels else None,
            triggers=trigger.cause.triggers if trigger.cause is not None else None,
        )

    def _trace(self, run_id: UUID, caller: TraceContext | None, parent: Parent | None) -> TraceContext:
        """The trace the run belongs to, and the span above its own: the caller's, else the attempt that
        spawned it, else nothing."""
        if caller is None and parent is not None:
            return attempt_context(parent.facts, parent.attempt)
        return place_of_run(self._tracer, run_id, caller)


def waiting_status(now: datetime) -> TaskStatus:
    """The status of a new task."""
    return TaskStatus(state=TaskState.QUEUED, attempt=0, queued_at=now)


def _step_id(plan: StepPlan) -> StepId:
    return StepId(plan.step.id)


def _metadata(
    trigger: Trigger,
    parent: Parent | None,
    parent_run_id: UUID | None,
    own: TraceContext | None,
    trace: TraceContext,
    run_id: UUID,
) -> bytes:
    """The caller's object with what it inherits and the engine's keys behind; never rewritten."""
    metadata = inherit(parent.facts.metadata if parent is not None else None, trigger.metadata)
    extra: dict[str, str] = {}
    if trigger.parent_task_id is not None:
        if parent_run_id is not None:
            extra[PARENT_RUN] = str(parent_run_id)
        extra[PARENT_TASK] = str(trigger.parent_task_id)
    if own is None:
        # Flag 01 whatever was sampled: a promise to clients that the value is always of this form.
        extra[TRACEPARENT] = format_traceparent(TraceContext(trace.trace_id, run_span_id(run_id), True))
    return add_keys(metadata, extra) if extra else metadata
