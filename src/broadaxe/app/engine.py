"""The engine part of a process: the core, its gRPC port and its health port."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from broadaxe.app.grpc_port import make_transport
from broadaxe.app.services import EngineServices
from broadaxe.app.shared import Shared, local_address, schedule_limits
from broadaxe.config.settings import Settings
from broadaxe.domain.ids import EngineId
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.engine.filters import FilterLimits
from broadaxe.expr.compiled import ExpressionLimits
from broadaxe.grpc_api.details import encode_detail
from broadaxe.grpc_api.observer import TelemetryObserver
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.rate_limit import RateLimiter
from broadaxe.grpc_api.servicers.admin import AdminServicer
from broadaxe.grpc_api.servicers.dispatcher import DispatcherServicer
from broadaxe.grpc_api.servicers.events import EventsServicer
from broadaxe.grpc_api.servicers.v1_dispatcher import V1DispatcherServicer
from broadaxe.grpc_api.servicers.workflows import WorkflowServicer
from broadaxe.grpc_api.transport import BindFailed
from broadaxe.store.health import DatabaseHealth
from broadaxe.store.ledger import Message
from broadaxe.telemetry import names as T
from broadaxe.telemetry.health import Health, HttpListener

log = logging.getLogger("broadaxe.process")

LEAST_CALL_TIME = 1.0
"""Seconds that open calls have to end even when the drain took all the time there was."""


def expression_limits(settings: Settings) -> ExpressionLimits:
    """How much an expression may take."""
    own = settings.expressions
    return ExpressionLimits(own.max_bytes, own.cache_size, own.inline_bytes, own.time_limit, own.max_waiting)


def filter_limits(settings: Settings) -> FilterLimits:
    """How large filters may be, and how many a tenant may make."""
    return FilterLimits(
        filters=settings.events.max_filters,
        scope=settings.events.max_key_bytes,
        payload=settings.events.max_filter_payload_bytes,
    )


class EnginePart:
    """The parts of the engine that SERVER_SERVICES names, whatever the other engines on the database run."""

    def __init__(self, shared: Shared, leaving: asyncio.Event, *, share_port: bool) -> None:
        """`leaving`: set when the process is about to stop. `share_port`: the next process of a rolling
        change may listen on the same gRPC port."""
        settings = shared.settings
        self._shared = shared
        self.services = EngineServices.of(settings.runtime.services)
        self.core = EngineCore(
            shared.ledger,
            shared.clock,
            shared.ids,
            shared.telemetry.tracer,
            shared.telemetry.metrics,
            self._options(),
            (self._maintain,) if self.services.keeps_up else (),
            # Two statements a minute, only where somebody looks at what they say.
            (DatabaseHealth(shared.database).read,) if shared.telemetry.metrics.enabled else (),
        )
        self.core.sweep.on_token_revoked.append(self._forget_token)
        observer = TelemetryObserver(shared.telemetry.tracer, shared.telemetry.metrics)
        shared.telemetry.metrics.observe(T.METRIC_STREAMS, observer.open_streams)
        pipeline = Pipeline(
            shared.verifier,
            RateLimiter(shared.clock, settings.grpc.rate_limit),
            observer,
            shared.clock,
            encode_detail=encode_detail,
            leaving=leaving,
        )
        servicers = (
            DispatcherServicer(self.core, shared.clock, shared.version),
            EventsServicer(self.core, keep_logs=settings.runtime.log_ingestion_enabled),
            WorkflowServicer(self.core),
            AdminServicer(self.core),
            V1DispatcherServicer(),
        )
        methods = [method for servicer in servicers for method in servicer.methods()]
        self._server = make_transport(methods, pipeline, shared, share_port=share_port)
        self._health = Health(shared.version)
        self._health.add_live("ownership", self.core.ownership.alive)
        self._health.add_ready("stopping", lambda: not leaving.is_set())
        self._health.add_ready("database", lambda: shared.ledger.state.available)
        self._health.add_ready("scheduling", lambda: self.core.ready)
        if self.services.serves:
            self._health.add_ready("grpc", lambda: self.opened.is_set())
        self._health_port: HttpListener | None = None
        self._opening: asyncio.Task[None] | None = None
        self.opened = asyncio.Event()
        """The gRPC port takes calls, or the process does its work without one."""
        self.failure: str | None = None
        """Why the port could not be opened."""

    def _options(self) -> EngineOptions:
        settings = self._shared.settings
        engine = settings.engine
        return EngineOptions(
            engine_id=EngineId(self._shared.ids.uuid7()),
            schedules=self.services.schedules,
            engine_dead_after=engine.engine_dead_after,
            started_hold=engine.started_commit_delay,
            fresh=engine.worker_silent_after,
            dead_after=engine.worker_dead_after,
            doubt=engine.in_doubt_wait,
            hold=engine.hold_max_duration,
            patience=engine.trigger_wait,
            drain_wait=settings.grpc.shutdown_timeout,
            max_internal_retries=settings.runtime.max_internal_retry_count,
            queue_limit=engine.queue_max_depth,
            payload_limit=settings.grpc.max_msg_size,
            results_buffer=settings.runtime.workflow_run_buffer_size,
            stream_gap=settings.runtime.stream_event_buffer_timeout,
            kept_run=engine.run_max_kept_bytes,
            workflow_steps=engine.workflow_max_steps,
            workflow_waits=engine.workflow_max_waits,
            propagate=settings.otel.propagate_to_workers,
            replay_enabled=settings.runtime.replay_enabled,
            fire_grace=settings.schedules.cron_grace,
            catch_up=settings.schedules.cron_catch_up == "last",
            schedule_horizon=settings.schedules.horizon,
            schedule_limits=schedule_limits(settings),
            expressions=expression_limits(settings),
            key_limit=settings.events.max_idempotency_key_bytes,
            event_key_limit=settings.events.max_key_bytes,
            filter_limits=filter_limits(settings),
            event_bulk_limit=settings.events.max_bulk,
            event_runs_limit=settings.events.max_runs,
            event_fanout_bytes=settings.events.max_fanout_bytes,
            look_back_limit=settings.events.max_look_back,
            confirmed_until=lambda: _moment(self._shared.telemetry.confirmed_before()),
        )

    async def _maintain(self) -> None:
        settings = self._shared.settings
        kept = settings.limits.core_partition_retention or settings.limits.tenant_retention_period
        retention = timedelta(seconds=kept) if settings.runtime.enable_data_retention else None
        await self._shared.ledger.partitions.maintain(retention)
        await self._shared.ledger.events.expire_keys()
        if retention is not None:
            await self._shared.ledger.schedules.prune(self._shared.clock.now() - retention)

    def _forget_token(self, message: Message) -> None:
        self._shared.verifier.forget(UUID(json.loads(message.body)["token_id"]))

    async def start(self) -> None:
        """Open the health port."""
        runtime = self._shared.settings.runtime
        if runtime.healthcheck:
            listener = HttpListener(
                runtime.healthcheck_bind_address, runtime.healthcheck_port, self._health.routes()
            )
            await listener.start()
            self._health_port = listener

    def begin(self, give_up: Callable[[], None]) -> None:
        """Join the other engines, and open the gRPC port once it is known who schedules what.

        `give_up` is called when the port cannot be opened.
        """
        self.core.start()

        async def opening() -> None:
            await self.core.until_ready()
            # A database that was left alone for days has no partition for today.
            await self._shared.ledger.partitions.ensure_partitions()
            if self.services.serves:
                try:
                    await self._server.start()
                except BindFailed as error:
                    self.failure = str(error)
                    give_up()
                    return
                log.info("gRPC listens on %s", self.grpc_address)
            self.opened.set()

        self._opening = asyncio.create_task(opening(), name="open-grpc")

    @property
    def grpc_address(self) -> str:
        """Where the gRPC port is."""
        return local_address(self._shared.settings.grpc.bind_address, self._server.port)

    @property
    def health_address(self) -> str:
        """Where the health port is; empty when it is off."""
        if self._health_port is None:
            return ""
        return local_address(self._shared.settings.runtime.healthcheck_bind_address, self._health_port.port)

    async def stop(self) -> None:
        """Send clients elsewhere, drain, end the streams, finish what is in flight, hand the lease on."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        timeout = self._shared.settings.grpc.shutdown_timeout
        end = self._shared.clock.monotonic() + timeout
        if self.services.serves:
            await self._server.leave(timeout)
        await self.core.drain()
        if self.services.serves:
            await self._server.stop(max(LEAST_CALL_TIME, end - self._shared.clock.monotonic()))
        await self.core.stop()
        if self._health_port is not None:
            await self._health_port.stop()


def _moment(nanoseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
