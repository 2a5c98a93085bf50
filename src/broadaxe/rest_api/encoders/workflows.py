"""Workflows on their way out."""

from dataclasses import fields
from uuid import UUID

import msgspec
from msgspec import Raw

from broadaxe.domain.schedule import Pause, PausedRuns
from broadaxe.domain.workflow import Concurrency, StepDefinition, WorkflowDefinition
from broadaxe.rest_api.encoders.payloads import as_optional_object, paginate
from broadaxe.rest_api.models.envelope import APIResourceMeta
from broadaxe.rest_api.models.schedules import QueueBehavior
from broadaxe.rest_api.models.workflows import (
    ConcurrencySetting,
    Job,
    LimitStrategy,
    Step,
    Workflow,
    WorkflowList,
    WorkflowTriggerCronRef,
    WorkflowTriggerEventRef,
    WorkflowTriggers,
    WorkflowVersion,
    WorkflowVersionMeta,
)
from broadaxe.views.model import Page, VersionView, WorkflowView

# The strategies of the registration that this enum lacks are shown as the one whose effect is nearest.
_STRATEGIES: dict[int, LimitStrategy] = {
    0: "CANCEL_IN_PROGRESS",
    1: "DROP_NEWEST",
    2: "QUEUE_NEWEST",
    3: "GROUP_ROUND_ROBIN",
    4: "DROP_NEWEST",
}


def encode_workflow(workflow: WorkflowView, pause: Pause | None = None) -> Workflow:
    """A workflow with its versions and the steps of the newest."""
    newest = workflow.versions[0]
    paused = pause if pause is not None and pause.active else None
    return Workflow(
        metadata=APIResourceMeta(workflow.id, workflow.created_at, newest.created_at),
        name=workflow.name,
        tenant_id=workflow.tenant_id,
        description=newest.definition.description or None,
        is_paused=workflow.paused,
        paused_workflow_cron_run_queue_behavior=_behavior(paused.crons) if paused else None,
        paused_workflow_scheduled_run_queue_behavior=_behavior(paused.scheduled) if paused else None,
        versions=[
            WorkflowVersionMeta(
                metadata=_head(version),
                version=_name(version),
                order=version.number,
                workflow_id=version.workflow_id,
            )
            for version in workflow.versions
        ],
        jobs=_jobs(newest),
        triggers=_triggers(newest),
    )


def _behavior(runs: PausedRuns) -> QueueBehavior:
    return "QUEUE" if runs is PausedRuns.QUEUE else "DROP"


def encode_workflow_page(page: Page[WorkflowView]) -> WorkflowList:
    """A page of workflows."""
    return WorkflowList(rows=[encode_workflow(row) for row in page.rows], pagination=paginate(page))


def encode_version(version: VersionView) -> WorkflowVersion:
    """A version with its definition."""
    definition = version.definition
    return WorkflowVersion(
        metadata=_head(version),
        version=_name(version),
        order=version.number,
        workflow_id=version.workflow_id,
        sticky=None if definition.sticky is None else ("HARD" if definition.sticky == 1 else "SOFT"),
        default_priority=definition.default_priority,
        triggers=_triggers(version),
        jobs=_jobs(version),
        workflow_config=encode_config(definition),
        v1_concurrency=_concurrency(definition),
        input_json_schema=as_optional_object(definition.input_schema or b""),
    )


def encode_config(definition: WorkflowDefinition) -> Raw:
    """The definition as registered, in our own words; JSON texts in it stay JSON."""
    config = {field.name: getattr(definition, field.name) for field in fields(definition)}
    config["input_schema"] = as_optional_object(definition.input_schema or b"")
    config["default_filters"] = [
        {"expression": f.expression, "scope": f.scope, "payload": as_optional_object(f.payload or b"")}
        for f in definition.default_filters
    ]
    return Raw(msgspec.json.encode(config))


def _head(version: VersionView) -> APIResourceMeta:
    return APIResourceMeta(version.id, version.created_at, version.created_at)


def _name(version: VersionView) -> str:
    return version.definition.version or str(version.number)


def _jobs(version: VersionView) -> list[Job]:
    definition = version.definition
    jobs = [_job(version, definition.name, definition.steps)]
    if definition.on_failure is not None:
        jobs.append(_job(version, f"{definition.name}-on-failure", (definition.on_failure,)))
    return jobs


def _job(version: VersionView, name: str, steps: tuple[StepDefinition, ...]) -> Job:
    ids = {step.name: step.id for step in steps}
    return Job(
        metadata=_head(version),
        tenant_id=version.tenant_id,
        version_id=version.id,
        name=name,
        steps=[_step(version, step, steps, ids) for step in steps],
        description=version.definition.description or None,
    )


def _step(
    version: VersionView, step: StepDefinition, steps: tuple[StepDefinition, ...], ids: dict[str, UUID]
) -> Step:
    return Step(
        metadata=APIResourceMeta(step.id, version.created_at, version.created_at),
        readable_id=step.name,
        tenant_id=version.tenant_id,
        # A version's steps have no group of their own here: it stands for them.
        job_id=version.id,
        action=step.action,
        timeout=_seconds(step.timeout),
        is_durable=step.durable,
        slot_requests=step.slots,
        children=[other.id for other in steps if step.name in other.parents],
        parents=[ids[name] for name in step.parents if name in ids],
    )


def _triggers(version: VersionView) -> WorkflowTriggers:
    definition = version.definition
    return WorkflowTriggers(
        metadata=_head(version),
        workflow_version_id=version.id,
        tenant_id=version.tenant_id,
        events=[
            WorkflowTriggerEventRef(parent_id=version.id, event_key=key) for key in definition.event_triggers
        ],
        crons=[WorkflowTriggerCronRef(parent_id=version.id, cron=cron) for cron in definition.cron_triggers],
    )


def _concurrency(definition: WorkflowDefinition) -> list[ConcurrencySetting]:
    settings = [_setting(entry, None) for entry in definition.concurrency]
    for step in definition.steps:
        settings += [_setting(entry, step.name) for entry in step.concurrency]
    return settings


def _setting(entry: Concurrency, step: str | None) -> ConcurrencySetting:
    return ConcurrencySetting(
        max_runs=1 if entry.max_runs is None else entry.max_runs,
        limit_strategy=_STRATEGIES.get(entry.strategy or 0, "GROUP_ROUND_ROBIN"),
        expression=entry.expression,
        scope="WORKFLOW" if step is None else "TASK",
        step_readable_id=step,
    )


def _seconds(value: float) -> str:
    return f"{int(value)}s" if value == int(value) else f"{value}s"
