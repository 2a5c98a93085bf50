"""Counts what happened and hands it to the instruments once in a while, not once a task."""

from collections import Counter
from uuid import UUID

from broadaxe.domain.task import TaskState
from broadaxe.engine.context import Labels, Meter
from broadaxe.telemetry import names as T
from broadaxe.telemetry.vocabulary import Metric

_OUTCOMES = {
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


class Tally:
    """Counters by instrument and labels, and the values for histograms, until `flush`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counts: Counter[tuple[Metric, Labels]] = Counter()
        self._values: list[tuple[Metric, float, Labels]] = []

    def created(self, tenant_id: UUID, count: int) -> None:
        """Tasks were created."""
        self._counts[(T.METRIC_TASKS_CREATED, ())] += count
        self._counts[(T.METRIC_TENANT_TASKS_CREATED, _tenant(tenant_id))] += count

    def assigned(self, tenant_id: UUID, waited: float, queued: bool) -> None:
        """A task was given to a worker after so many seconds, out of a queue or born assigned."""
        self._counts[(T.METRIC_TASKS_ASSIGNED, ())] += 1
        self._counts[(T.METRIC_TENANT_TASKS_ASSIGNED, _tenant(tenant_id))] += 1
        if queued:
            self._counts[(T.METRIC_TASKS_DEQUEUED, ())] += 1
        self._values.append((T.METRIC_QUEUE_WAIT, waited, ()))

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
        outcome = (T.LABEL_OUTCOME, "skipped" if skipped else _OUTCOMES[state])
        self._counts[(T.METRIC_TASKS_FINISHED, (outcome,))] += 1
        self._counts[(T.METRIC_TENANT_TASKS_FINISHED, (*_tenant(tenant_id), outcome))] += 1
        if not of_run:
            self._values.append((T.METRIC_RUN_DURATION, seconds, (outcome,)))

    def run_over(self, state: TaskState, seconds: float) -> None:
        """A run of several steps ended, so long after its creation."""
        self._values.append((T.METRIC_RUN_DURATION, seconds, ((T.LABEL_OUTCOME, _OUTCOMES[state]),)))

    def retried(self, tenant_id: UUID, reason: str) -> None:
        """A further attempt was planned."""
        self._counts[(T.METRIC_TASKS_RETRIED, ((T.LABEL_REASON, reason),))] += 1
        self._counts[(T.METRIC_TENANT_TASKS_RETRIED, _tenant(tenant_id))] += 1
        if reason == "worker_lost":
            self._counts[(T.METRIC_TASKS_REASSIGNED, ())] += 1

    def scheduling_timed_out(self) -> None:
        """No slot in time."""
        self._counts[(T.METRIC_TASKS_SCHEDULING_TIMED_OUT, ())] += 1

    def found(self, count: int) -> None:
        """The sweep came upon messages that nobody had told it of."""
        self._counts[(T.METRIC_SWEEP_FOUND, ())] += count

    def stale(self) -> None:
        """A report came for an attempt that is not live."""
        self._counts[(T.METRIC_RESULTS_STALE, ())] += 1

    def sent(self, seconds: float) -> None:
        """A first attempt reached its worker's stream, so long after its trigger."""
        self._values.append((T.METRIC_TRIGGER_TO_SEND, seconds, ()))

    def fired(self, kind: str, lateness: float) -> None:
        """A due time started a run, so many seconds late."""
        self._counts[(T.METRIC_SCHEDULES_FIRED, ((T.LABEL_KIND, kind),))] += 1
        self._values.append((T.METRIC_SCHEDULES_LATENESS, max(0.0, lateness), ()))

    def skipped(self, reason: str) -> None:
        """A due time, or a stretch of them, got no run."""
        self._counts[(T.METRIC_SCHEDULES_SKIPPED, ((T.LABEL_REASON, reason),))] += 1

    def turn(self, seconds: float) -> None:
        """The scheduler had a turn."""
        self._counts[(T.METRIC_QUEUE_INVOCATIONS, ())] += 1
        self._values.append((T.METRIC_SCHEDULING_LATENCY, seconds, ()))

    def event(self, tenant_id: UUID, runs: int, failures: int) -> None:
        """A user event was stored: it started so many runs, and so many expressions failed."""
        self._counts[(T.METRIC_EVENTS_PUSHED, ())] += 1
        self._counts[(T.METRIC_TENANT_EVENTS_PUSHED, _tenant(tenant_id))] += 1
        if runs:
            self._counts[(T.METRIC_EVENT_RUNS, ())] += runs
        if failures:
            self._counts[(T.METRIC_EVENT_EXPRESSIONS_FAILED, ())] += failures

    def event_skipped(self) -> None:
        """An event would have started a run of a workflow that cannot be run."""
        self._counts[(T.METRIC_EVENT_RUNS_SKIPPED, ())] += 1

    def message(self, kind: str) -> None:
        """A message of another process was dealt with."""
        self._counts[(T.METRIC_BUS_MESSAGES, ((T.LABEL_KIND, kind),))] += 1

    def flush(self) -> None:
        """Hand everything to the instruments."""
        counts, self._counts = self._counts, Counter()
        values, self._values = self._values, []
        for (metric, labels), count in counts.items():
            self._meter.add(metric, count, labels)
        for metric, value, labels in values:
            self._meter.record(metric, value, labels)


def _tenant(tenant_id: UUID) -> Labels:
    return ((T.LABEL_TENANT_ID, str(tenant_id)),)
