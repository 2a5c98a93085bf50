"""What every part of the engine is given: the parts below it, and the limits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from broadaxe.clock import Clock, Ids
from broadaxe.domain.ids import EngineId
from broadaxe.engine.schedules.limits import ScheduleLimits
from broadaxe.expr.compiled import ExpressionLimits
from broadaxe.store.ledger import Ledger
from broadaxe.telemetry.tracer import Tracer
from broadaxe.telemetry.vocabulary import Label, Metric

Labels = tuple[tuple[Label, str | int], ...]
"""The labels of one observation."""


class Meter(Protocol):
    """The part of the metrics that the engine uses."""

    def add(self, metric: Metric, value: float = 1, labels: Labels = ()) -> None:
        """Count."""

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Put one value into a histogram."""

    def observe(self, metric: Metric, callback: Callable[[], Iterable[tuple[float, Labels]]]) -> None:
        """Ask for the value of a gauge whenever it is read."""


HEARTBEAT_FLUSH = 10.0
"""Seconds that a heartbeat may wait until it is written to its worker's row."""


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """How large filters may be. Sizes are bytes."""

    filters: int = 10_000
    """Filters that a tenant may make."""
    scope: int = 1_024
    payload: int = 65_536


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The engine's limits and intervals. Times are seconds, sizes bytes."""

    engine_id: EngineId
    schedules: bool = True
    """Whether this process takes leases; one that does not serves calls for those that do."""
    engine_dead_after: float = 5.0
    """Silence after which another engine counts as gone."""
    started_hold: float = 0.05
    """How long a report of a start waits for another commit to ride on."""
    fresh: float = 5.0
    """A worker gets work while its last heartbeat is younger."""
    dead_after: float = 30.0
    """A worker is dead this long after the later of its last heartbeat and this engine's readiness."""
    doubt: float = 2.0
    """How long a returned worker may take to report a task that may or may not have reached it."""
    hold: float = 300.0
    """How long listeners and task events wait while this process does not own the scheduling."""
    patience: float = 5.0
    """How long a trigger waits for an absent database."""
    retry_write: float = 1.0
    """First pause after a refused write; doubled with each further one, up to a minute."""
    max_internal_retries: int = 10
    queue_limit: int = 200_000
    """Tasks that may wait in one queue before triggers are refused."""
    bulk_limit: int = 1_000
    cancel_limit: int = 20_000
    replay_limit: int = 1_000
    payload_limit: int = 4 * 1024 * 1024
    """Largest input, output or error."""
    metadata_limit: int = 64 * 1024
    kept_input: int = 16 * 1024
    """A waiting task keeps its input in memory up to this size; a larger one is read again at its send."""
    kept_run: int = 1024 * 1024
    """What steps of a run left is kept in memory up to this size altogether, for those behind them."""
    workflow_steps: int = 1_000
    """Most tasks of one workflow."""
    workflow_waits: int = 1_000
    """Most sleeps and user events that one workflow waits for."""
    outbox_limit: int = 1_000
    """Messages that may wait for one session."""
    outbox_bytes: int = 64 * 1024 * 1024
    assign_batch: int = 256
    """Tasks that one turn of the scheduler assigns at most."""
    finished_kept: int = 4_096
    """Finished runs whose results are kept for late subscribers."""
    finished_bytes: int = 16 * 1024 * 1024
    stream_gap: float = 5.0
    """How long a stream chunk waits for the ones before it."""
    stream_held: int = 1_000
    """Chunks of one task that wait for a missing one."""
    watch_wait: float = 10.0
    """How long a watcher waits for a run that is not known yet."""
    results_buffer: int = 1_000
    """Results of runs kept waiting for one slow subscriber; the rest are read again when it has room."""
    watch_buffer: int = 10_000
    """Entries that may wait for one watcher."""
    drain_wait: float = 10.0
    """How long a stop waits for the database, all its steps together."""
    fire_grace: float = 15.0
    """How late a cron's due time is still fired; an older one was missed."""
    catch_up: bool = False
    """Whether the last missed due time of a cron is made up for."""
    schedule_horizon: float = 3_600.0
    """How far ahead planned runs are kept in memory."""
    schedule_limits: ScheduleLimits = field(default_factory=ScheduleLimits)
    """How much one tenant may plan."""
    sweep_every: float = 1.0
    heartbeat_flush: float = HEARTBEAT_FLUSH
    maintenance_every: float = 3_600.0
    watch_every: float = 60.0
    """How often what only metrics tell is read from the database."""
    propagate: bool = True
    """Whether workers are given the attempt's `traceparent`."""
    replay_enabled: bool = True
    key_limit: int = 1_024
    """Largest idempotency key."""
    event_key_limit: int = 1_024
    """Largest key or scope of an event."""
    event_bulk_limit: int = 1_000
    filter_limits: FilterLimits = field(default_factory=FilterLimits)
    event_runs_limit: int = 10_000
    """Runs that one event may start."""
    event_fanout_bytes: int = 256 * 1024 * 1024
    """Inputs of all the runs of one event together."""
    look_back_limit: int = 1_000
    """Earlier events that one condition is asked about."""
    expressions: ExpressionLimits = field(default_factory=ExpressionLimits)
    confirmed_until: Callable[[], datetime | None] = field(default=lambda: None)
    """Up to when this process's spans have left it."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The rooms below, handed to every part of the engine."""

    ledger: Ledger
    clock: Clock
    ids: Ids
    tracer: Tracer
    meter: Meter
    options: EngineOptions
