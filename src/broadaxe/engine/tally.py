"""Counts what happened: the one place of the engine that names its counters and histograms."""

from functools import lru_cache
from uuid import UUID

from broadaxe.domain.task import TaskState
from broadaxe.engine.context import Labels, Meter
from broadaxe.telemetry import names as T

_OUTCOMES = {
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


class Tally:
    """What each happening adds to which instruments."""

    def __init__(self, meter: Meter) -> None:
        self._add = meter.add
        self._record = meter.record

    def created(self, tenant_id: UUID, count: int) -> None:
        """Tasks were created."""
        self._add(T.METRIC_TASKS_CREATED, count)
        self._add(T.METRIC_TENANT_TASKS_CREATED, count, _tenant(tenant_id))

    def assigned(self, tenant_id: UUID, waited: float, queued: bool) -> None:
        """A task was given to a worker after so many seconds, out of a queue or born assigned."""
        self._add(T.METRIC_TASKS_ASSIGNED)
        self._add(T.METRIC_TENANT_TASKS_ASSIGNED, 1, _tenant(tenant_id))
        if queued:
            self._add(T.METRIC_TASKS_DEQUEUED)
        self._record(T.METRIC_QUEUE_WAIT, waited)

    def finished(
        self,
        tenant_id: UUID,
        state: TaskState,
        seconds: float,
        *,
        of_run: bool = False,
        skipped: bool = False,
    ) -> None:
        """A task became final, so long after its creation; `of_run`: it is a step of a run."""
        outcome = "skipped" if skipped else _OUTCOMES[state]
        labels = _outcome(outcome)
        self._add(T.METRIC_TASKS_FINISHED, 1, labels)
        self._add(T.METRIC_TENANT_TASKS_FINISHED, 1, _tenant_outcome(tenant_id, outcome))
        if not of_run:
            self._record(T.METRIC_RUN_DURATION, seconds, labels)

    def run_over(self, state: TaskState, seconds: float) -> None:
        """A run of several steps ended, so long after its creation."""
        self._record(T.METRIC_RUN_DURATION, seconds, _outcome(_OUTCOMES[state]))

    def retried(self, tenant_id: UUID, reason: str) -> None:
        """A further attempt was planned."""
        self._add(T.METRIC_TASKS_RETRIED, 1, ((T.LABEL_REASON, reason),))
        self._add(T.METRIC_TENANT_TASKS_RETRIED, 1, _tenant(tenant_id))
        if reason == "worker_lost":
            self._add(T.METRIC_TASKS_REASSIGNED)

    def scheduling_timed_out(self) -> None:
        """No slot in time."""
        self._add(T.METRIC_TASKS_SCHEDULING_TIMED_OUT)

    def found(self, count: int) -> None:
        """The sweep came upon messages that nobody had told it of."""
        self._add(T.METRIC_SWEEP_FOUND, count)

    def stale(self) -> None:
        """A report came for an attempt that is not live."""
        self._add(T.METRIC_RESULTS_STALE)

    def sent(self, seconds: float) -> None:
        """A first attempt reached its worker's stream, so long after its trigger."""
        self._record(T.METRIC_TRIGGER_TO_SEND, seconds)

    def fired(self, kind: str, lateness: float) -> None:
        """A due time started a run, so many seconds late."""
        self._add(T.METRIC_SCHEDULES_FIRED, 1, ((T.LABEL_KIND, kind),))
        self._record(T.METRIC_SCHEDULES_LATENESS, max(0.0, lateness))

    def skipped(self, reason: str) -> None:
        """A due time, or a stretch of them, got no run."""
        self._add(T.METRIC_SCHEDULES_SKIPPED, 1, ((T.LABEL_REASON, reason),))

    def turn(self, seconds: float) -> None:
        """The scheduler had a turn."""
        self._add(T.METRIC_QUEUE_INVOCATIONS)
        self._record(T.METRIC_SCHEDULING_LATENCY, seconds)

    def event(self, tenant_id: UUID, runs: int, failures: int) -> None:
        """A user event was stored: it started so many runs, and so many expressions failed."""
        self._add(T.METRIC_EVENTS_PUSHED)
        self._add(T.METRIC_TENANT_EVENTS_PUSHED, 1, _tenant(tenant_id))
        if runs:
            self._add(T.METRIC_EVENT_RUNS, runs)
        if failures:
            self._add(T.METRIC_EVENT_EXPRESSIONS_FAILED, failures)

    def event_skipped(self) -> None:
        """An event would have started a run of a workflow that cannot be run."""
        self._add(T.METRIC_EVENT_RUNS_SKIPPED)

    def message(self, kind: str) -> None:
        """A message of another process was dealt with."""
        self._add(T.METRIC_BUS_MESSAGES, 1, ((T.LABEL_KIND, kind),))


# Labels are kept, since writing out an id costs more than all that is counted with it.


@lru_cache(maxsize=1024)
def _tenant(tenant_id: UUID) -> Labels:
    return ((T.LABEL_TENANT_ID, str(tenant_id)),)


@lru_cache(maxsize=1024)
def _tenant_outcome(tenant_id: UUID, outcome: str) -> Labels:
    return (*_tenant(tenant_id), *_outcome(outcome))


@lru_cache(maxsize=16)
def _outcome(outcome: str) -> Labels:
    return ((T.LABEL_OUTCOME, outcome),)
