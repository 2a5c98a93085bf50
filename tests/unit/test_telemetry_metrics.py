import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.metrics import Metrics, UndeclaredLabelError
from broadaxe.telemetry.prometheus import render


def make(*, strict: bool = True) -> Metrics:
    return Metrics({"service.name": "server"}, "1", enabled=True, strict=strict)


def lines(metrics: Metrics) -> list[str]:
    return render(metrics.collect()).splitlines()


def test_metrics_off_take_everything_and_hold_nothing() -> None:
    metrics = Metrics({}, "1", enabled=False)
    metrics.add(T.METRIC_TASKS_CREATED)
    metrics.record(T.METRIC_QUEUE_WAIT, 1.0)
    metrics.observe(T.METRIC_QUEUE_DEPTH, list)
    assert metrics.collect() is None
    assert metrics.series == 0


def test_counters_read_zero_before_the_first_event() -> None:
    shown = lines(make())
    assert "hatchet_created_tasks_total 0" in shown
    assert "hatchet_succeeded_tasks_total 0" in shown


def test_outcomes_appear_under_the_names_operators_know() -> None:
    metrics = make()
    metrics.add(T.METRIC_TASKS_FINISHED, 2, ((T.LABEL_OUTCOME, "failed"),))
    metrics.add(T.METRIC_TASKS_FINISHED, 1, ((T.LABEL_OUTCOME, "odd"),))
    shown = lines(metrics)
    assert "hatchet_failed_tasks_total 2" in shown
    assert 'hatchet_finished_tasks_total{outcome="odd"} 1' in shown


def test_histogram_has_the_declared_bounds_cumulative_counts_and_sum() -> None:
    metrics = make()
    for seconds in (0.005, 0.3, 99.0):
        metrics.record(T.METRIC_QUEUE_WAIT, seconds)
    shown = lines(metrics)
    name = "hatchet_queued_to_assigned_time_seconds"
    bounds = [line.split('"')[1] for line in shown if line.startswith(f"{name}_bucket")]
    assert bounds == ["0.01", "0.02", "0.05", "0.1", "0.5", "1", "2", "5", "15", "+Inf"]
    assert f'{name}_bucket{{le="0.5"}} 2' in shown
    assert f'{name}_bucket{{le="+Inf"}} 3' in shown
    assert f"{name}_count 3" in shown
    assert f"{name}_sum 99.305" in shown


def test_observed_gauge_adds_callbacks_up() -> None:
    metrics = make()
    metrics.observe(T.METRIC_STREAMS, lambda: [(2, ((T.LABEL_KIND, "worker"),))])
    metrics.observe(T.METRIC_STREAMS, lambda: [(3, ((T.LABEL_KIND, "worker"),))])
    assert 'hatchet_streams{kind="worker"} 5' in lines(metrics)


def test_observe_of_a_counter_raises() -> None:
    with pytest.raises(ValueError, match="not an observed"):
        make().observe(T.METRIC_TASKS_CREATED, list)


def test_label_sets_beyond_the_cap_share_the_overflow_set() -> None:
    metrics = make()
    cap = T.LABEL_TENANT_ID.cardinality
    for number in range(cap + 50):
        metrics.add(T.METRIC_TENANT_TASKS_CREATED, 1, ((T.LABEL_TENANT_ID, f"t{number}"),))
    shown = [line for line in lines(metrics) if line.startswith("hatchet_tenant_created_tasks_total")]
    assert len(shown) == cap + 1
    assert 'hatchet_tenant_created_tasks_total{otel_metric_overflow="true"} 50' in shown


def test_observed_label_sets_beyond_the_cap_are_summed() -> None:
    metrics = make()
    metrics.observe(
        T.METRIC_QUEUE_DEPTH, lambda: [(1, ((T.LABEL_QUEUE, f"q{number}"),)) for number in range(205)]
    )
    assert 'hatchet_queue_depth{otel_metric_overflow="true"} 5' in lines(metrics)


def test_undeclared_label_raises_in_strict_and_overflows_otherwise() -> None:
    labels = ((T.LABEL_TENANT_ID, "x"),)
    with pytest.raises(UndeclaredLabelError):
        make().add(T.METRIC_TASKS_CREATED, 1, labels)
    loose = make(strict=False)
    loose.add(T.METRIC_TASKS_CREATED, 1, labels)
    assert 'hatchet_created_tasks_total{otel_metric_overflow="true"} 1' in lines(loose)


def test_label_values_are_escaped() -> None:
    metrics = make()
    metrics.observe(T.METRIC_QUEUE_DEPTH, lambda: [(1, ((T.LABEL_QUEUE, 'a"b\\c\nd'),))])
    assert 'hatchet_queue_depth{queue="a\\"b\\\\c\\nd"} 1' in lines(metrics)


def test_page_parses_with_the_reference_parser() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    metrics = make()
    metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.2, ((T.LABEL_RPC_METHOD, "a/b"),))
    families = {
        family.name: family for family in text_string_to_metric_families("\n".join(lines(metrics)) + "\n")
    }
    assert families["rpc_server_call_duration_seconds"].type == "histogram"
    assert families["hatchet_created_tasks"].type == "counter"


def test_sdk_switch_in_the_environment_does_not_turn_metrics_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert "hatchet_created_tasks_total 0" in lines(make())
