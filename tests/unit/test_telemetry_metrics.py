import gc
import math
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FrameType

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from broadaxe.telemetry import names as T
from broadaxe.telemetry.metrics import Labels, Metrics, UndeclaredLabelError
from broadaxe.telemetry.prometheus import render
from broadaxe.testkit.virtual_time import VirtualClock


def make(*, strict: bool = True) -> Metrics:
    return Metrics({"service.name": "server"}, "1", enabled=True, strict=strict)


def lines(metrics: Metrics) -> list[str]:
    return render(metrics.read()).splitlines()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Finalizers of other tests' objects, and those that watch the collector, call nothing meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


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


OUTCOME = ((T.LABEL_OUTCOME, "completed"),)


@pytest.mark.usefixtures("uncollected")
def test_a_measurement_is_one_call_and_none_of_the_sdk() -> None:
    metrics = make()
    entered: list[CodeType] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.append(frame.f_code)

    sys.setprofile(watch)
    try:
        # The first also makes its cells, the others only find them.
        for _ in range(100):
            metrics.add(T.METRIC_TASKS_RETRIED, 1, ((T.LABEL_REASON, "failure"),))
            metrics.record(T.METRIC_RUN_DURATION, 0.2, OUTCOME)
    finally:
        sys.setprofile(None)
    calls = Counter(code.co_name for code in entered)
    assert (calls["add"], calls["record"], calls["admit"]) == (100, 100, 2)
    assert len(entered) < 220
    assert not [code for code in entered if "opentelemetry" in code.co_filename]


@pytest.mark.usefixtures("uncollected")
def test_known_and_superfluous_label_sets_take_no_more_memory() -> None:
    metrics = make()
    tenants = [((T.LABEL_TENANT_ID, f"t{number}"),) for number in range(T.LABEL_TENANT_ID.cardinality + 100)]

    def measure() -> None:
        for labels in tenants:
            metrics.add(T.METRIC_TENANT_TASKS_CREATED, 1, labels)
            metrics.record(T.METRIC_QUEUE_WAIT, 0.5)

    measure()
    before = sys.getallocatedblocks()
    for _ in range(20):
        measure()
    assert sys.getallocatedblocks() - before < len(tenants)


def test_labels_in_another_order_are_the_same_series() -> None:
    metrics = make()
    code, method = (T.LABEL_RPC_GRPC_STATUS_CODE, 0), (T.LABEL_RPC_METHOD, "a/b")
    metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.1, (method, code))
    metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.1, (code, method))
    shown = [line for line in lines(metrics) if line.startswith("rpc_server_call_duration_seconds_count")]
    assert shown == ['rpc_server_call_duration_seconds_count{rpc_method="a/b",rpc_grpc_status_code="0"} 2']


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf])
def test_what_cannot_be_counted_is_left_out_and_told(value: float, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make()
    before = lines(metrics), metrics.series
    for _ in range(5):
        metrics.add(T.METRIC_TASKS_RETRIED, value, ((T.LABEL_REASON, "failure"),))
        metrics.record(T.METRIC_QUEUE_WAIT, value)
    assert (lines(metrics), metrics.series) == before
    (told,) = caplog.messages
    assert T.METRIC_TASKS_RETRIED.name in told
    assert repr(value) in told


def test_a_callback_that_fails_takes_no_other_instrument_along(caplog: pytest.LogCaptureFixture) -> None:
    metrics = make()

    def fail() -> Iterator[tuple[float, Labels]]:
        yield 3, ()
        raise RuntimeError("broken")

    metrics.observe(T.METRIC_SPANS_PENDING, fail)
    metrics.observe(T.METRIC_GRPC_CONNECTIONS, lambda: [(math.nan, ())])
    metrics.observe(T.METRIC_STREAMS, lambda: [(2, ((T.LABEL_KIND, "worker"),))])
    shown = "\n".join(lines(metrics))
    assert 'hatchet_streams{kind="worker"} 2' in shown
    assert T.METRIC_SPANS_PENDING.prometheus not in shown
    assert T.METRIC_GRPC_CONNECTIONS.prometheus not in shown
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        T.METRIC_SPANS_PENDING.name,
        T.METRIC_GRPC_CONNECTIONS.name,
    ]


def test_an_observed_counter_that_comes_back_starts_anew() -> None:
    clock = VirtualClock()
    metrics = Metrics({}, "1", enabled=True, strict=True, clock=clock)
    dropped: list[tuple[float, Labels]] = [(1, ((T.LABEL_REASON, "shutdown"),))]
    metrics.observe(T.METRIC_SPANS_DROPPED, lambda: dropped)

    def starts() -> list[int]:
        request = encode_metrics(metrics.collect())
        return [
            point.start_time_unix_nano
            for metric in request.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == T.METRIC_SPANS_DROPPED.name
            for point in metric.sum.data_points
        ]

    first = clock.now_ns()
    assert starts() == [first]
    clock.advance(1)
    assert starts() == [first]
    (kept,) = dropped
    dropped.clear()
    assert starts() == []
    dropped.append(kept)
    assert starts() == [clock.now_ns()]


def many(metrics: Metrics) -> int:
    """Fills an instrument of many buckets; how many series there are."""
    for number in range(T.LABEL_RPC_METHOD.cardinality):
        metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.2, ((T.LABEL_RPC_METHOD, f"a/{number}"),))
    return metrics.series


@pytest.mark.usefixtures("uncollected")
def test_the_page_writes_the_labels_of_a_series_once() -> None:
    metrics = make()
    series = many(metrics)
    lines(metrics)
    calls = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(watch)
    try:
        shown = lines(metrics)
    finally:
        sys.setprofile(None)
    assert len(shown) > 15 * series
    assert calls < 4 * series


def test_pages_leave_no_text_of_label_sets_that_are_gone() -> None:
    metrics = make()
    many(metrics)
    pages = iter(range(12))

    def ask() -> list[tuple[float, Labels]]:
        page = next(pages)
        return [(1, ((T.LABEL_QUEUE, f"{page}/{number}/" + "q" * 2000),)) for number in range(100)]

    metrics.observe(T.METRIC_QUEUE_DEPTH, ask)
    tracemalloc.start()
    try:
        held = []
        for _ in range(12):
            assert sum("qqq" in line for line in lines(metrics)) == 100
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[1] < 100_000, "a page's worth of names alone takes 200,000 bytes"
