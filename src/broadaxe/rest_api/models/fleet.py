"""Workers, queues, the tenant and the server itself."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from broadaxe.rest_api.models.envelope import APIResourceMeta, PaginationResponse
from broadaxe.views.model import WorkerState

SdkLanguage = Literal["GOLANG", "PYTHON", "TYPESCRIPT", "RUBY"]


class WorkerSlotConfig(Struct):
    """Units of a slot type."""

    limit: int
    available: int


class WorkerLabel(Struct, omit_defaults=True):
    """A label of a worker."""

    metadata: APIResourceMeta
    key: str
    value: str | None = None


class WorkerRuntimeInfo(Struct, rename="camel", omit_defaults=True):
    """What a worker runs on."""

    sdk_version: str | None = None
    language: SdkLanguage | None = None
    language_version: str | None = None
    os: str | None = None
    runtime_extra: str | None = None


class Worker(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A worker."""

    metadata: APIResourceMeta
    name: str
    type: Literal["SELFHOSTED", "MANAGED", "WEBHOOK"]
    status: WorkerState
    actions: list[str]
    slot_config: dict[str, WorkerSlotConfig]
    labels: list[WorkerLabel]
    last_heartbeat_at: datetime | None = None
    last_listener_established: datetime | None = None
    runtime_info: WorkerRuntimeInfo | None = None


class WorkerList(Struct):
    """A page of workers, newest first."""

    pagination: PaginationResponse
    rows: list[Worker]


class UpdateWorkerRequest(Struct, rename="camel"):
    """What to change about a worker."""

    is_paused: bool | None = None


class TenantStepRunQueueMetrics(Struct):
    """Waiting tasks by action."""

    queues: dict[str, int]


class TaskStatusStat(Struct, rename="camel", omit_defaults=True):
    """Tasks of a name that wait, or that run."""

    total: int | None = None
    queues: dict[str, int] | None = None
    oldest: datetime | None = None
    oldest_excluding_retries: datetime | None = None


class TaskStat(Struct, omit_defaults=True):
    """What waits and what runs of a task name."""

    queued: TaskStatusStat | None = None
    running: TaskStatusStat | None = None


class Tenant(Struct, rename="camel"):
    """A tenant."""

    metadata: APIResourceMeta
    name: str
    slug: str
    version: Literal["V0", "V1"]


class APIMetaAuth(Struct):
    """Ways to log in."""

    schemes: list[str]


class APIMeta(Struct, rename="camel", kw_only=True):
    """What a client must know before it has an identity."""

    auth: APIMetaAuth
    allow_signup: bool
    allow_invites: bool
    allow_create_tenant: bool
    allow_change_password: bool
    observability_enabled: bool


class Version(Struct):
    """The version that the server answers for."""

    version: str
