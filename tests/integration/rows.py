"""Rows for tests."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from broadaxe.clock import SystemIds
from broadaxe.domain.ids import EngineId, RunId, StepId, TaskId, TenantId, VersionId, WorkerId, WorkflowId
from broadaxe.domain.task import TaskFacts, TaskState, TaskStatus
from broadaxe.store.ledger import ChildClaim, NewTask, TaskWrite

ids = SystemIds()
TENANT, OTHER = TenantId(ids.uuid7()), TenantId(ids.uuid7())
WORKER = WorkerId(ids.uuid7())
WORKFLOW, VERSION, STEP = WorkflowId(ids.uuid7()), VersionId(ids.uuid7()), StepId(ids.uuid7())
INPUT = b'{"message":"' + b"x" * 150 + b'"}'
METADATA = b'{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","team":"blue"}'


def engine() -> EngineId:
    return EngineId(ids.uuid7())


def now() -> datetime:
    return datetime.now(UTC)


def new_task(
    tenant: TenantId = TENANT,
    state: TaskState = TaskState.QUEUED,
    claim: ChildClaim | None = None,
    task_id: UUID | None = None,
    **facts: object,
) -> NewTask:
    at = now()
    task_id = task_id or ids.uuid7()
    base = TaskFacts(
        tenant_id=tenant, id=TaskId(task_id), run_id=RunId(task_id), workflow_id=WORKFLOW,
        version_id=VERSION, step_id=STEP, priority=1, created_at=at, input=INPUT,
        metadata=METADATA, trace=bytes(25), parent_task_id=claim.parent_task_id if claim else None,
    )  # fmt: skip
    status = TaskStatus(state, 0, at)
    if state is TaskState.ASSIGNED:
        status = replace(status, worker_id=WORKER, assigned_at=at, timeout_at=at)
    return NewTask(replace(base, **facts), status, claim)  # type: ignore[arg-type]


def started(task: NewTask) -> TaskWrite:
    status = replace(task.status, started_at=now())
    return TaskWrite(task.facts.tenant_id, task.facts.id, 0, TaskState.ASSIGNED, status)


def completed(task: NewTask, output: bytes = b'{"result":"done and well"}') -> TaskWrite:
    at = now()
    status = replace(
        task.status, state=TaskState.COMPLETED, started_at=at, finished_at=at, output=output, timeout_at=None
    )
    return TaskWrite(task.facts.tenant_id, task.facts.id, 0, TaskState.ASSIGNED, status)
