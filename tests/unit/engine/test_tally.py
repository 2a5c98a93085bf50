"""What the engine counts reaches the instruments at once, under labels that the contract declares."""

from uuid import UUID

from opentelemetry.sdk.metrics.export import HistogramDataPoint

from broadaxe.domain.task import TaskState
from broadaxe.engine.tally import Tally
from broadaxe.telemetry import names as T
from broadaxe.telemetry.metrics import Metrics
from broadaxe.telemetry.prometheus import render

TENANT = UUID("00000000-0000-7000-8000-000000000001")
OTHER = UUID("00000000-0000-7000-8000-000000000002")


def make() -> tuple[Tally, Metrics]:
    metrics = Metrics({}, "1", enabled=True, strict=True)
    return Tally(metrics), metrics


def page(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in render(metrics.read()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def grown(metrics: Metrics) -> set[str]:
    """The names of instruments that counted something."""
    data = metrics.collect()
    assert data is not None
    return {
        metric.name
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
        if (point.count if isinstance(point, HistogramDataPoint) else getattr(point, "value", 0))
    }


def test_the_life_of_a_task() -> None:
    tally, metrics = make()
    tally.created(TENANT, 3)
    tally.created(OTHER, 1)
    tally.assigned(TENANT, 0.2, queued=True)
    tally.assigned(TENANT, 0.0, queued=False)
    tally.sent(0.03)
    tally.retried(TENANT, "worker_lost")
    tally.finished(TENANT, TaskState.FAILED, 2.0)
    tally.finished(TENANT, TaskState.COMPLETED, 1.0, of_run=True)
    tally.run_over(TaskState.COMPLETED, 4.0)
    shown = page(metrics)
    assert shown["hatchet_created_tasks_total"] == 4
    assert shown[f'hatchet_tenant_created_tasks_total{{tenant_id="{TENANT}"}}'] == 3
    assert shown[f'hatchet_tenant_created_tasks_total{{tenant_id="{OTHER}"}}'] == 1
    assert shown["hatchet_assigned_tasks"] == 2
    assert shown["hatchet_queued_to_assigned"] == 1
    assert shown["hatchet_queued_to_assigned_time_seconds_sum"] == 0.2
    assert shown["hatchet_queued_to_assigned_time_seconds_count"] == 2
    assert shown["hatchet_reassigned_tasks"] == 1
    assert shown["hatchet_failed_tasks_total"] == 1
    assert shown["hatchet_succeeded_tasks_total"] == 1
    assert shown['hatchet_run_duration_seconds_sum{outcome="failed"}'] == 2.0
    assert shown['hatchet_run_duration_seconds_sum{outcome="completed"}'] == 4.0


def test_everything_the_engine_counts_is_declared() -> None:
    tally, metrics = make()
    tally.scheduling_timed_out()
    tally.found(2)
    tally.stale()
    tally.fired("cron", -1.0)
    tally.skipped("late")
    tally.turn(0.001)
    tally.event(TENANT, 2, 1)
    tally.event_skipped()
    tally.message("cancel")
    tally.retried(TENANT, "failure")
    tally.finished(TENANT, TaskState.CANCELLED, 1.0, skipped=True)
    assert grown(metrics) == {
        T.METRIC_TASKS_SCHEDULING_TIMED_OUT.name,
        T.METRIC_SWEEP_FOUND.name,
        T.METRIC_RESULTS_STALE.name,
        T.METRIC_SCHEDULES_FIRED.name,
        T.METRIC_SCHEDULES_LATENESS.name,
        T.METRIC_SCHEDULES_SKIPPED.name,
        T.METRIC_QUEUE_INVOCATIONS.name,
        T.METRIC_SCHEDULING_LATENCY.name,
        T.METRIC_EVENTS_PUSHED.name,
        T.METRIC_TENANT_EVENTS_PUSHED.name,
        T.METRIC_EVENT_RUNS.name,
        T.METRIC_EVENT_EXPRESSIONS_FAILED.name,
        T.METRIC_EVENT_RUNS_SKIPPED.name,
        T.METRIC_BUS_MESSAGES.name,
        T.METRIC_TASKS_RETRIED.name,
        T.METRIC_TENANT_TASKS_RETRIED.name,
        T.METRIC_TASKS_FINISHED.name,
        T.METRIC_TENANT_TASKS_FINISHED.name,
        T.METRIC_RUN_DURATION.name,
    }
    assert "overflow" not in render(metrics.read())
