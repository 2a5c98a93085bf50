"""A read side of plain values, and an application over it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.errors import Unauthenticated
from broadaxe.domain.ids import TenantId
from broadaxe.engine.api import Origin, Trigger
from broadaxe.rest_api.app import build_app
from broadaxe.rest_api.options import RestOptions
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.model import (
    Page,
    RunKind,
    RunStatus,
    RunView,
    StateCount,
    TaskView,
)

TENANT = TenantId(UUID("11111111-1111-7111-8111-111111111111"))
OTHER = TenantId(UUID("22222222-2222-7222-8222-222222222222"))
TASK = UUID("01938d2a-0000-7000-8000-00000000abcd")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def task_view(**changes: Any) -> TaskView:
    values: dict[str, Any] = {
        "tenant_id": TENANT, "id": TASK, "run_id": TASK, "kind": RunKind.TASK, "number": 7,
        "workflow_id": TASK, "workflow_name": "w", "version_id": TASK, "step_id": TASK, "step_name": "s",
        "action": "w:s", "durable": False, "display_name": "s-1", "status": RunStatus.QUEUED, "attempt": 0,
        "priority": 1, "created_at": AT, "changed_at": AT, "queued_at": AT, "started_at": None,
        "finished_at": None, "input": b"{}", "output": b"", "error": None, "metadata": b"{}",
        "worker_id": None, "parent_task_id": None, "children": 0,
    }  # fmt: skip
    return TaskView(**{**values, **changes})


class FakeViews:
    """Answers what it is told to; `asked` keeps the arguments. What is not told is absent."""

    def __init__(self) -> None:
        self.tasks: list[TaskView] = []
        self.run: RunView | None = None
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self.before: Callable[[], Any] | None = None

    async def list_runs(
        self, tenant_id: TenantId, where: object, offset: int, limit: int, **more: bool
    ) -> Page[TaskView]:
        self.asked.append(("list_runs", (tenant_id, where, offset, limit, more)))
        if self.before is not None:
            await self.before()
        return Page(self.tasks, offset, limit, len(self.tasks))

    async def list_run_ids(self, tenant_id: TenantId, where: object) -> list[UUID]:
        self.asked.append(("list_run_ids", (tenant_id, where)))
        return [task.id for task in self.tasks]

    async def count_by_status(self, tenant_id: TenantId, where: object) -> list[StateCount]:
        return [StateCount(status, 1) for status in RunStatus]

    async def get_run(self, tenant_id: TenantId, run_id: UUID, **_: bool) -> RunView | None:
        self.asked.append(("get_run", (tenant_id, run_id)))
        return self.run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith(("get_", "list_", "count_")):
            raise AttributeError(name)

        async def absent(*arguments: object) -> None:
            self.asked.append((name, arguments))

        return absent


@dataclass
class FakeCommands:
    """Records changes; `error` is raised instead."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    error: Exception | None = None
    run_id: UUID = TASK
    parent: Any = None

    async def _do(self, name: str, what: Any) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append((name, what))

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        await self._do("trigger", trigger)
        origin.parent = self.parent
        return self.run_id

    async def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        await self._do("cancel", list(ids))
        return list(ids)

    async def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        await self._do("replay", list(ids))
        return list(ids)

    async def pause_worker(self, tenant_id: TenantId, worker_id: UUID, paused: bool) -> bool:
        await self._do("pause", (worker_id, paused))
        return False


@dataclass
class Caller:
    tenant_id: TenantId
    token_id: UUID = TASK


class Tokens:
    async def authenticate(self, authorization: str) -> Caller:
        if authorization != "Bearer good":
            raise Unauthenticated("some inner reason")
        return Caller(TENANT)


@dataclass
class Durations:
    recorded: list[tuple[str, float, dict[str, str | int]]] = field(default_factory=list)

    def record(self, metric: Any, value: float, labels: Any) -> None:
        self.recorded.append((metric.name, value, {label.name: text for label, text in labels}))


@dataclass
class Site:
    """An application with everything in it at hand."""

    views: FakeViews = field(default_factory=FakeViews)
    commands: FakeCommands = field(default_factory=FakeCommands)
    durations: Durations = field(default_factory=Durations)
    options: RestOptions = field(default_factory=RestOptions)
    spans: list[bytes] = field(default_factory=list)
    ready: bool = True
    ratio: float = 1.0

    def app(self) -> Any:
        clock = SystemClock()
        tracer = Tracer(clock, SystemIds(), self.spans.append, Sampler(self.ratio), strict=True)
        return build_app(
            self.views,  # type: ignore[arg-type]
            self.commands,
            Tokens(),
            clock,
            tracer,
            self.durations,
            lambda: self.ready,
            self.options,
        )

    def client(self, token: str | None = "good") -> httpx.AsyncClient:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(self.app(), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
