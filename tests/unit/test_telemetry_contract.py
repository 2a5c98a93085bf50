from pathlib import Path

import pytest

from broadaxe.telemetry import generate, names
from broadaxe.telemetry.reference_page import render_page
from broadaxe.telemetry.vocabulary import Label, SpanKind, SpanTemplate

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"


def test_generated_files_match_the_contract() -> None:
    contract = generate.load()
    assert generate.render_names(contract) == generate.NAMES.read_text()
    assert render_page(contract) == PAGE.read_text()


def test_generate_check_returns_zero_when_current() -> None:
    assert generate.main(["--check"]) == 0


def test_generate_undeclared_attribute_is_refused() -> None:
    contract = generate.load()
    contract["spans"]["run"]["attributes"] = ["nowhere"]
    with pytest.raises(generate.ContractError, match="nowhere"):
        generate.render_names(contract)


def test_span_names_all_begin_with_the_prefix() -> None:
    assert all(span.name.startswith("hatchet.run/") for span in names.SPANS)
    assert names.rpc_span("Dispatcher", "Register").name == "hatchet.run/Dispatcher/Register"
    assert names.http_span("GET", "/api/v1/meta").name == "hatchet.run/GET /api/v1/meta"
    assert names.db_span("INSERT", "task").name == "hatchet.run/INSERT task"
    assert names.db_span("COMMIT").name == "hatchet.run/COMMIT"


def test_templates_give_kinds_and_cached_names() -> None:
    assert names.rpc_span("A", "B") is names.rpc_span("A", "B")
    assert names.rpc_span("A", "B").kind is SpanKind.SERVER
    assert names.db_span("SELECT", "run").kind is SpanKind.CLIENT
    assert names.http_span("BREW", "/pot").name == "hatchet.run/_OTHER /pot"


def test_template_beyond_its_limit_gives_one_overflow_name() -> None:
    template = SpanTemplate("hatchet.run/", " ", SpanKind.CLIENT, frozenset(), 2)
    given = {template("SELECT", f"table{number}").name for number in range(10)}
    assert given == {"hatchet.run/SELECT table0", "hatchet.run/SELECT table1", "hatchet.run/_OTHER"}


def test_names_are_unique_and_labels_belong_to_instruments() -> None:
    for group in (names.SPANS, names.ATTRS, names.METRICS, names.LABELS, names.EVENTS):
        shown = [one.name for one in group]
        assert len(shown) == len(set(shown))
    used = {label for metric in names.METRICS for label in metric.labels}
    assert used <= set(names.LABELS)
    assert all(isinstance(label, Label) and label.cardinality >= 1 for label in names.LABELS)
    shown = [metric.prometheus for metric in names.METRICS]
    assert len(shown) == len(set(shown))


def test_tenant_labels_only_on_counters_and_gauges() -> None:
    for metric in names.METRICS:
        if names.LABEL_TENANT_ID in metric.labels:
            assert metric.kind.name != "HISTOGRAM", metric.name


def test_durations_are_in_seconds() -> None:
    for metric in (
        names.METRIC_RPC_SERVER_DURATION,
        names.METRIC_HTTP_SERVER_DURATION,
        names.METRIC_DB_CLIENT_DURATION,
        names.METRIC_QUEUE_WAIT,
    ):
        assert metric.unit == "s"
        assert max(metric.bounds) <= 60
