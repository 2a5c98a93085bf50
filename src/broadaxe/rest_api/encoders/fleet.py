"""Workers, the backlog and the tenant on their way out."""

from typing import get_args

from broadaxe.domain.workflow import LabelValue
from broadaxe.rest_api.encoders.payloads import paginate
from broadaxe.rest_api.models.envelope import APIResourceMeta
from broadaxe.rest_api.models.fleet import (
    SdkLanguage,
    TaskStat,
    TaskStatusStat,
    Tenant,
    Worker,
    WorkerLabel,
    WorkerList,
    WorkerRuntimeInfo,
    WorkerSlotConfig,
)
from broadaxe.views.model import Backlog, Page, TaskStats, TenantView, WorkerView

_LANGUAGES: tuple[SdkLanguage, ...] = get_args(SdkLanguage)


def encode_worker(worker: WorkerView) -> Worker:
    """A worker."""
    changed = max(
        at
        for at in (worker.registered_at, worker.last_heartbeat_at, worker.listening_since)
        if at is not None
    )
    head = APIResourceMeta(worker.id, worker.registered_at, changed)
    return Worker(
        metadata=head,
        name=worker.name,
        type="SELFHOSTED",
        status=worker.state,
        actions=list(worker.actions),
        slot_config={
            kind: WorkerSlotConfig(limit=slots.limit, available=slots.available)
            for kind, slots in worker.slots.items()
        },
        labels=[
            WorkerLabel(metadata=head, key=key, value=_label(value))
            for key, value in sorted(worker.labels.items())
        ],
        last_heartbeat_at=worker.last_heartbeat_at,
        last_listener_established=worker.listening_since,
        runtime_info=_runtime(worker.runtime),
    )


def encode_worker_page(page: Page[WorkerView]) -> WorkerList:
    """A page of workers."""
    return WorkerList(pagination=paginate(page), rows=[encode_worker(row) for row in page.rows])


def encode_stats(stats: TaskStats) -> TaskStat:
    """What waits and what runs of one task name."""
    return TaskStat(queued=_backlog(stats.queued), running=_backlog(stats.running))


def encode_tenant(tenant: TenantView) -> Tenant:
    """A tenant."""
    return Tenant(
        metadata=APIResourceMeta(tenant.id, tenant.created_at, tenant.updated_at),
        name=tenant.name,
        slug=tenant.slug,
        version="V1",
    )


def _label(value: LabelValue) -> str:
    return str(value.number) if value.text is None else value.text


def _runtime(runtime: dict[str, str]) -> WorkerRuntimeInfo | None:
    if not runtime:
        return None
    language = runtime.get("language", "").upper()
    return WorkerRuntimeInfo(
        sdk_version=runtime.get("sdk_version"),
        language=next((known for known in _LANGUAGES if known == language), None),
        language_version=runtime.get("language_version"),
        os=runtime.get("os"),
        runtime_extra=runtime.get("extra"),
    )


def _backlog(backlog: Backlog | None) -> TaskStatusStat | None:
    if backlog is None:
        return None
    return TaskStatusStat(
        total=backlog.total,
        queues=backlog.queues,
        oldest=backlog.oldest,
        oldest_excluding_retries=backlog.oldest_first_attempt,
    )
