"""One run = one connected trace, for everything that can happen to a run, told by a real server process."""

from pathlib import Path

import pytest

from broadaxe.telemetry.conformance import metric_violations, span_violations
from broadaxe.telemetry.context import attempt_span_id, queue_span_id, run_span_id
from broadaxe.testkit.trace_assert import Forest
from tests.telemetry.scenarios import CANARY, SCENARIOS
from tests.telemetry.shape import drawn_shape
from tests.telemetry.stage import PREFIX, Stage, whole_rules
from tests.telemetry.told import Told

GOLDEN = Path(__file__).parent / "golden"
SPANS_OF_A_SIMPLE_RUN = 13


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_every_run_is_one_connected_trace(told: Told, scenario: str) -> None:
    for run in told.of(scenario):
        own = [
            span for span in told.stage.collector.spans if span.attributes.get(PREFIX + "run.id") == str(run)
        ]
        assert len({span.trace_id for span in own}) == 1, "the spans of a run are in several traces"
        spans = told.stage.trace(own[0].trace_id)
        forest = Forest(spans)
        (root,) = [span for span in spans if not span.parent_id]
        assert root.name == PREFIX + "run"
        assert [span.span_id for span in own if span.name == PREFIX + "run"] == [run_span_id(run).hex()]
        leaves = [span for span in spans if span.kind == "SERVER" or span.name == PREFIX + "commit-wait"]
        assert all(not forest.children(leaf) for leaf in leaves)
    _judge(told.stage, {span.trace_id for run in told.of(scenario) for span in told.stage.trace_of(run)})


def _judge(stage: Stage, traces: set[str]) -> None:
    # Links may lead into other traces, so the judge sees all; only problems of these traces count.
    forest = Forest(stage.collector.spans)
    found = [text for text in forest.problems(whole_rules()) if any(trace in text for trace in traces)]
    assert not found, "\n".join([*found, *(forest.draw(trace) for trace in sorted(traces)[:2])])


def test_everything_that_was_exported_is_whole_and_declared(told: Told) -> None:
    spans = told.stage.collector.spans
    Forest(spans).check(whole_rules())
    assert span_violations(spans) == []
    assert told.stage.collector.receiver.metrics
    for request in told.stage.collector.receiver.metrics:
        assert metric_violations(request) == []


GOLDEN_SCENARIOS = ("simple", "retry", "children", "time_out", "cancel_running", "replay", "scheduled", "dag")


@pytest.mark.parametrize("scenario", GOLDEN_SCENARIOS)
def test_golden_trace_names_parents_kinds_links(told: Told, scenario: str) -> None:
    shape = drawn_shape(told.spans(scenario))
    path = GOLDEN / f"{scenario}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(shape)
        pytest.fail(f"{path.name} was not there; it is now: look at it")
    assert shape == path.read_text(), f"differs from golden/{path.name}; remove it to have it written anew"


def test_planned_run_links_to_the_call_that_planned_it(told: Told) -> None:
    [fire] = [span for span in told.spans("scheduled") if span.name == PREFIX + "schedule-fire"]
    name = PREFIX + "WorkflowService/ScheduleWorkflow"
    [planned] = [span for span in told.stage.collector.spans if span.name == name]
    assert list(fire.links) == [(planned.trace_id, planned.span_id)]
    assert planned.trace_id != fire.trace_id


def test_simple_run_has_exactly_so_many_spans(told: Told) -> None:
    spans = told.spans("simple")
    assert len(spans) == SPANS_OF_A_SIMPLE_RUN <= 20, Forest(spans).draw(spans[0].trace_id)


def test_no_payload_error_text_metadata_or_token_gets_into_a_span(told: Told) -> None:
    assert not told.failures
    token = told.stage.cluster.token
    for span in told.stage.collector.spans:
        text = repr(span)
        assert CANARY not in text, span
        assert token[-40:] not in text, span
        assert "eyJ" not in text, span


def test_every_statement_has_a_span_that_tells_about_it(told: Told) -> None:
    statements = [span for span in told.stage.collector.spans if "db.operation.name" in span.attributes]
    operations = {span.attributes["db.operation.name"] for span in statements}
    assert operations >= {"SELECT", "INSERT", "UPDATE"}
    assert "BEGIN" not in operations
    flushes = [span for span in told.stage.collector.spans if span.name == PREFIX + "flush"]
    ends = {span.parent_id for span in statements if span.attributes["db.operation.name"] == "COMMIT"}
    assert ends.isdisjoint(flush.span_id for flush in flushes), "a flush tells how long its COMMIT took"
    for flush in flushes:
        took_us = flush.attributes[PREFIX + "flush.commit_us"]
        assert isinstance(took_us, int)
        assert 0 < took_us * 1000 <= flush.duration_ns
    for span in statements:
        found = span.attributes
        assert found["db.system.name"] == "postgresql"
        assert found["db.namespace"]
        assert found["db.query.text"]
        assert found["db.query.summary"]
        told_rows = found.get("db.response.returned_rows", found.get(PREFIX + "rows.changed"))
        assert isinstance(told_rows, int)
        assert span.kind == "CLIENT"
        assert span.name == PREFIX + str(found["db.query.summary"])
        if found["db.operation.name"] not in ("COMMIT", "ROLLBACK"):
            assert found["db.collection.name"]
            assert "$1" in str(found["db.query.text"]) or "$" not in str(found["db.query.text"])


def test_bulk_of_a_hundred_is_one_commit_that_all_link_to(told: Told) -> None:
    runs = told.of("bulk")
    spans = told.stage.collector.spans
    created = {run_span_id(run).hex() for run in runs}
    waits = [span for span in spans if span.name == PREFIX + "commit-wait" and span.parent_id in created]
    assert len(waits) == 99
    assert len({wait.links for wait in waits}) == 1
    (flush,) = [span for span in spans if (span.trace_id, span.span_id) == waits[0].links[0]]
    assert {flush.parent_id} == created - {wait.parent_id for wait in waits}, "the first has the flush itself"
    assert flush.attributes[PREFIX + "batch.members"] == 100
    assert flush.attributes[PREFIX + "batch.size"] == 100
    assert set(flush.links) == {(wait.trace_id, wait.span_id) for wait in waits}


def test_retry_waits_for_its_back_off_between_the_attempts(told: Told) -> None:
    (run,) = told.of("retry")
    spans = told.spans("retry")
    first, second = sorted(
        (span for span in spans if span.name == PREFIX + "attempt"), key=lambda span: span.start_ns
    )
    assert (first.span_id, second.span_id) == (attempt_span_id(run, 0).hex(), attempt_span_id(run, 1).hex())
    assert second.links == ((first.trace_id, first.span_id),)
    assert second.start_ns - first.end_ns >= 900_000_000
    assert (first.error, first.message, first.attributes["error.type"]) == (True, "ValueError", "failure")
    (waited,) = [span for span in spans if span.span_id == queue_span_id(run, 1).hex()]
    assert waited.start_ns - first.end_ns >= 900_000_000, "back-off is no wait for a worker"


def test_time_out_says_so(told: Told) -> None:
    spans = told.spans("time_out")
    (attempt,) = [span for span in spans if span.name == PREFIX + "attempt"]
    assert attempt.attributes["error.type"] == "timeout"
    assert attempt.duration_ns >= 1_000_000_000


def test_child_asked_for_twice_is_one_run_and_a_trigger_that_was_deduplicated(told: Told) -> None:
    spans = told.spans("children")
    assert len([span for span in spans if span.name == PREFIX + "run"]) == 3
    (again,) = [span for span in spans if span.name == PREFIX + "ingest"]
    assert again.attributes[PREFIX + "outcome"] == "deduplicated"


@pytest.mark.parametrize(
    ("call", "scenarios"),
    [("CancelTasks", ("cancel_queued", "cancel_running")), ("ReplayTasks", ("replay",))],
)
def test_call_about_runs_links_to_them(told: Told, call: str, scenarios: tuple[str, ...]) -> None:
    calls = told.stage.collector.named(f"{PREFIX}v1.AdminService/{call}")
    links = {link for span in calls for link in span.links}
    assert links == {(told.spans(one)[0].trace_id, run_span_id(told.of(one)[0]).hex()) for one in scenarios}


def test_heartbeats_are_not_traced(told: Told) -> None:
    assert not [span for span in told.stage.collector.spans if span.name.endswith("/Heartbeat")]


def test_all_scenarios_played(told: Told) -> None:
    assert not told.failures
