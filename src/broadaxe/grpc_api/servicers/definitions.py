"""Registrations from the wire to `WorkflowDefinition`: every field is kept; the domain judges them."""

from collections.abc import Sequence
from uuid import UUID

from broadaxe.domain.workflow import (
    BatchConfig,
    Concurrency,
    Condition,
    DefaultFilter,
    Idempotency,
    RateLimitUse,
    StepDefinition,
    WorkflowDefinition,
)
from broadaxe.grpc_api.servicers.fields import duration_field, label_requests, time_field
from broadaxe.grpc_api.wire import workflows_pb2 as v0
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as pb
from broadaxe.grpc_api.wire.v1.shared import condition_pb2

NO_ID = UUID(int=0)
"""Steps get their ids when the domain completes the definition."""


def definition(request: pb.CreateWorkflowVersionRequest) -> WorkflowDefinition:
    """The current form. InvalidArgument naming the field for what cannot be read at all."""
    concurrency = [
        *([request.concurrency] if request.HasField("concurrency") else []),
        *request.concurrency_arr,
    ]
    return WorkflowDefinition(
        name=request.name,
        steps=tuple(_step(task, f"tasks[{at}]") for at, task in enumerate(request.tasks)),
        description=request.description,
        version=request.version,
        event_triggers=tuple(request.event_triggers),
        cron_triggers=tuple(request.cron_triggers),
        cron_input=request.cron_input if request.HasField("cron_input") else None,
        on_failure=_step(request.on_failure_task, "on_failure_task")
        if request.HasField("on_failure_task")
        else None,
        sticky=request.sticky if request.HasField("sticky") else None,
        default_priority=request.default_priority if request.HasField("default_priority") else None,
        concurrency=_concurrency(concurrency),
        default_filters=tuple(
            DefaultFilter(one.expression, one.scope, one.payload if one.HasField("payload") else None)
            for one in request.default_filters
        ),
        input_schema=request.input_json_schema if request.HasField("input_json_schema") else None,
        idempotency=_idempotency(request),
    )


def _idempotency(request: pb.CreateWorkflowVersionRequest) -> Idempotency | None:
    if not request.HasField("idempotency"):
        return None
    config = request.idempotency
    return Idempotency(config.expression, config.ttl_ms, config.method if config.HasField("method") else None)


def _concurrency(entries: Sequence[pb.Concurrency]) -> tuple[Concurrency, ...]:
    return tuple(
        Concurrency(
            expression=one.expression,
            max_runs=one.max_runs if one.HasField("max_runs") else None,
            strategy=one.limit_strategy if one.HasField("limit_strategy") else None,
            name=one.name if one.HasField("name") else None,
            tenant_scoped=one.is_tenant_scoped if one.HasField("is_tenant_scoped") else None,
            max_runs_expression=one.max_runs_expression if one.HasField("max_runs_expression") else None,
        )
        for one in entries
    )


def _seconds(text: str, field: str, default: float) -> float:
    return duration_field(text, field) if text else default


def _step(task: pb.CreateTaskOpts, where: str) -> StepDefinition:
    return StepDefinition(
        id=NO_ID,
        name=task.readable_id,
        action=task.action,
        timeout=_seconds(task.timeout, f"{where}.timeout", 60.0),
        schedule_timeout=_seconds(task.schedule_timeout, f"{where}.schedule_timeout", 300.0),
        retries=task.retries,
        backoff_factor=task.backoff_factor if task.HasField("backoff_factor") else None,
        backoff_max=float(task.backoff_max_seconds) if task.HasField("backoff_max_seconds") else 86_400.0,
        # Left empty when the client said nothing: the domain knows the defaults.
        slots=dict(task.slot_requests),
        parents=tuple(task.parents),
        labels=label_requests(task.worker_labels),
        rate_limits=tuple(_rate_limit(one) for one in task.rate_limits),
        concurrency=_concurrency(task.concurrency),
        conditions=_conditions(task.conditions, where),
        durable=task.is_durable,
        batch=_batch(task.batch) if task.HasField("batch") else None,
        inputs=task.inputs,
    )


def _rate_limit(one: pb.CreateTaskRateLimit | v0.CreateStepRateLimit) -> RateLimitUse:
    return RateLimitUse(
        key=one.key,
        units=one.units if one.HasField("units") else None,
        key_expression=one.key_expr if one.HasField("key_expr") else None,
        units_expression=one.units_expr if one.HasField("units_expr") else None,
        limit_expression=one.limit_values_expr if one.HasField("limit_values_expr") else None,
        window=one.duration if one.HasField("duration") else None,
    )


def _batch(one: pb.TaskBatchConfig) -> BatchConfig:
    return BatchConfig(
        max_size=one.batch_max_size,
        max_interval_ms=one.batch_max_interval_ms if one.HasField("batch_max_interval_ms") else None,
        group_key=one.batch_group_key if one.HasField("batch_group_key") else None,
        group_max_runs=one.batch_group_max_runs if one.HasField("batch_group_max_runs") else None,
        broadcast_output=one.broadcast_output if one.HasField("broadcast_output") else None,
    )


def _conditions(source: condition_pb2.TaskConditions, where: str) -> tuple[Condition, ...]:
    found = [
        _condition("parent", one.base, parent=one.parent_readable_id)
        for one in source.parent_override_conditions
    ]
    found += [_condition("sleep", one.base, sleep_for=one.sleep_for) for one in source.sleep_conditions]
    for at, one in enumerate(source.user_event_conditions):
        since = f"{where}.conditions.user_event_conditions[{at}].consider_events_since"
        found.append(
            Condition(
                kind="event",
                data_key=one.base.readable_data_key,
                action=one.base.action,
                or_group=one.base.or_group_id,
                expression=one.base.expression,
                event_key=one.user_event_key,
                event_scope=one.event_scope if one.HasField("event_scope") else None,
                consider_since=time_field(one.consider_events_since, since)
                if one.HasField("consider_events_since")
                else None,
            )
        )
    return tuple(found)


def _condition(
    kind: str, base: condition_pb2.BaseMatchCondition, *, parent: str = "", sleep_for: str = ""
) -> Condition:
    return Condition(
        kind=kind,
        data_key=base.readable_data_key,
        action=base.action,
        or_group=base.or_group_id,
        expression=base.expression,
        parent=parent,
        sleep_for=sleep_for,
    )


def legacy_definition(opts: v0.CreateWorkflowVersionOpts) -> WorkflowDefinition:
    """The old form that early SDKs send: jobs with steps."""
    schedule = _seconds(opts.schedule_timeout, "opts.schedule_timeout", 300.0)
    steps = [
        _legacy_step(step, schedule, f"opts.jobs[{job}].steps[{at}]")
        for job, one in enumerate(opts.jobs)
        for at, step in enumerate(one.steps)
    ]
    failure = opts.on_failure_job.steps if opts.HasField("on_failure_job") else []
    on_failure = _legacy_step(failure[0], schedule, "opts.on_failure_job.steps[0]") if failure else None
    concurrency: tuple[Concurrency, ...] = ()
    if opts.HasField("concurrency"):
        one = opts.concurrency
        concurrency = (
            Concurrency(
                expression=one.expression,
                max_runs=one.max_runs if one.HasField("max_runs") else None,
                strategy=one.limit_strategy if one.HasField("limit_strategy") else None,
            ),
        )
    return WorkflowDefinition(
        name=opts.name,
        steps=tuple(steps),
        description=opts.description,
        version=opts.version,
        event_triggers=tuple(opts.event_triggers),
        cron_triggers=tuple(opts.cron_triggers),
        cron_input=opts.cron_input if opts.HasField("cron_input") else None,
        on_failure=on_failure,
        sticky=opts.sticky if opts.HasField("sticky") else None,
        default_priority=opts.default_priority if opts.HasField("default_priority") else None,
        concurrency=concurrency,
    )


def _legacy_step(step: v0.CreateWorkflowStepOpts, schedule: float, where: str) -> StepDefinition:
    return StepDefinition(
        id=NO_ID,
        name=step.readable_id,
        action=step.action,
        timeout=_seconds(step.timeout, f"{where}.timeout", 60.0),
        schedule_timeout=schedule,
        retries=step.retries,
        backoff_factor=step.backoff_factor if step.HasField("backoff_factor") else None,
        backoff_max=float(step.backoff_max_seconds) if step.HasField("backoff_max_seconds") else 86_400.0,
        parents=tuple(step.parents),
        labels=label_requests(step.worker_labels),
        rate_limits=tuple(_rate_limit(one) for one in step.rate_limits),
        inputs=step.inputs,
    )
