"""The API part of a process: REST over the read side; changes go to the engine here or over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from broadaxe.app.engine import EnginePart, expression_limits, filter_limits
from broadaxe.app.shared import Shared, local_address, schedule_limits
from broadaxe.clock import Clock
from broadaxe.config.tls import client_tls
from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.sampling import threshold
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import NewUserEvent, Origin, Refusal, Trigger
from broadaxe.engine.context import HEARTBEAT_FLUSH
from broadaxe.engine.event_tracing import EventTraces, above_of
from broadaxe.engine.filters import Filters, post_filters_changed
from broadaxe.engine.schedules.changes import post_change
from broadaxe.engine.schedules.requests import ScheduleRequests
from broadaxe.engine.tracing import run_context
from broadaxe.expr.compiled import Cel
from broadaxe.expr.evaluator import Evaluator
from broadaxe.rest_api.app import build_app
from broadaxe.rest_api.commands import Commands, EngineCommands
from broadaxe.rest_api.options import RestOptions
from broadaxe.rest_api.server import RestServer
from broadaxe.store.ledger import Message, MessageKind, StoredTask
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.store.run_ledger import StoredRun
from broadaxe.telemetry.context import TraceContext
from broadaxe.views.store_views import StoreViews

if TYPE_CHECKING:
    from broadaxe.grpc_api.client import EngineClient

TOKEN_REUSE = 60.0
"""Seconds for which one internal token serves; it lives longer."""


class RemoteCommands:
    """Changes from the API process: over gRPC, and by a message for what has no method there."""

    def __init__(self, client: EngineClient, shared: Shared, filters: Filters) -> None:
        self.filters = filters
        self._client = client
        self._ledger = shared.ledger
        self._tracer = shared.telemetry.tracer
        self.schedules = ScheduleRequests(
            shared.ledger,
            shared.clock,
            shared.ids,
            schedule_limits(shared.settings),
            partial(post_change, shared.ledger),
        )

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        """Start a run."""
        run_id = await self._client.trigger(tenant_id, trigger, origin)
        if self._tracer.enabled:
            origin.parent = await self._place(tenant_id, run_id)
        return run_id

    async def _place(self, tenant_id: TenantId, run_id: UUID) -> TraceContext | None:
        """The run's place as the engine stored it: whether its trace is recorded is the engine's decision,
        which may have another ratio than this process."""
        try:
            found: Sequence[StoredTask | StoredRun] = await self._ledger.get_tasks(tenant_id, [run_id])
            if not found:
                # Of several steps, none of which has a task yet.
                found = await self._ledger.get_runs(tenant_id, [run_id])
        except Unavailable:
            return None  # the run is started: for want of its place the request has one of its own
        return run_context(found[0].facts) if found else None

    async def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> UserEvent:
        """Store a user event."""
        pushed = await self._client.push_event(tenant_id, event, origin)
        if self._tracer.enabled:
            origin.parent = await self._event_place(tenant_id, pushed.id)
        return pushed

    async def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        """Store many."""
        pushed = await self._client.push_events(tenant_id, events, origin)
        first = pushed[0]
        if self._tracer.enabled and isinstance(first, UserEvent):
            origin.parent = await self._event_place(tenant_id, first.id)
        return pushed

    async def _event_place(self, tenant_id: TenantId, event_id: UUID) -> TraceContext | None:
        """The same of an event."""
        try:
            trace = await self._ledger.events.get_trace(tenant_id, event_id)
        except Unavailable:
            return None
        return EventTraces.place(event_id, above_of(trace)) if trace is not None else None

    async def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        """Cancel."""
        return await self._client.cancel(tenant_id, ids, origin)

    async def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        """Run again."""
        return await self._client.replay(tenant_id, ids, origin)

    async def pause_worker(self, tenant_id: TenantId, worker_id: UUID, paused: bool) -> bool:
        """Write the row, then tell the engine to read it."""
        if not await self._ledger.set_paused(tenant_id, WorkerId(worker_id), paused):
            return False
        body = json.dumps({"worker_id": str(worker_id)}).encode()
        await self._ledger.post([Message(tenant_id, MessageKind.WORKER_CHANGED, body)])
        return True


class InternalTokens:
    """Short-lived tokens for the engine, one a tenant, made anew before they expire."""

    def __init__(self, shared: Shared) -> None:
        self._issuer = shared.issuer
        self._clock: Clock = shared.clock
        self._made: dict[TenantId, tuple[float, str]] = {}

    def __call__(self, tenant_id: TenantId) -> str:
        """A token for this tenant."""
        now = self._clock.monotonic()
        made = self._made.get(tenant_id)
        if made is not None and now - made[0] < TOKEN_REUSE:
            return made[1]
        if len(self._made) > 10_000:
            self._made.clear()
        token = self._issuer.issue_internal(tenant_id).text
        self._made[tenant_id] = (now, token)
        return token


class RestPart:
    """The REST port."""

    def __init__(self, shared: Shared, leaving: asyncio.Event, engine: EnginePart | None) -> None:
        """`leaving`: set when the process is about to stop. `engine`: where it is in this process."""
        settings = shared.settings
        self._shared = shared
        self._client: EngineClient | None = None
        sampling = settings.sampling
        views = StoreViews(
            PostgresReads(shared.database, threshold(sampling.rate) if sampling.enabled else None),
            shared.clock,
            # Heartbeats reach their rows in batches, so a row may be that much older than the last beat.
            inactive_after=settings.engine.worker_silent_after + HEARTBEAT_FLUSH,
        )
        self._evaluator = (
            engine.core.evaluator if engine is not None else Evaluator(Cel(expression_limits(settings)))
        )
        app = build_app(
            views,
            self._commands(engine),
            shared.verifier,
            shared.clock,
            shared.telemetry.tracer,
            shared.telemetry.metrics,
            lambda: shared.ledger.state.available and not leaving.is_set(),
            RestOptions(version=shared.version, allowed_origins=settings.api.allowed_origins),
            self._evaluator,
        )
        self._server = RestServer(
            app, settings.runtime.bind_address, settings.runtime.port, clock=shared.clock
        )

    def _filters(self) -> Filters:
        shared = self._shared

        async def changed(tenant_id: TenantId) -> None:
            await post_filters_changed(shared.ledger, tenant_id)

        return Filters(shared.ledger.events, self._evaluator.cel, filter_limits(shared.settings), changed)

    def _commands(self, engine: EnginePart | None) -> Commands:
        if engine is not None:
            return EngineCommands(engine.core, self._shared.ledger)
        settings = self._shared.settings
        address = settings.internal_client.broadcast_address or settings.grpc.broadcast_address
        # Only an API process of its own loads grpcio, which takes 20 MB.
        from broadaxe.grpc_api.client import EngineClient

        self._client = EngineClient(address, client_tls(settings), InternalTokens(self._shared))
        return RemoteCommands(self._client, self._shared, self._filters())

    async def start(self) -> None:
        """Listen; OSError that names the address when that cannot be."""
        try:
            await self._server.start()
        except OSError as error:
            runtime = self._shared.settings.runtime
            place = f"{runtime.bind_address}:{runtime.port}"
            raise OSError(f"cannot listen on {place}: {error.strerror or error}") from error

    @property
    def url(self) -> str:
        """Where this process can be reached from this machine."""
        host = self._shared.settings.runtime.bind_address
        return f"http://{local_address(host, self._server.port)}"

    async def stop(self) -> None:
        """Let open requests end, then close."""
        await self._server.stop()
        await self._evaluator.close()
        if self._client is not None:
            await self._client.close()
