"""User events: which runs they start, with what, in one commit, and what is refused."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import InvalidArgument, ResourceExhausted, Unavailable
from broadaxe.domain.event_filters import FailureSource
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import DefaultFilter, Idempotency
from broadaxe.engine.api import EventKind, NewUserEvent, Origin, Refusal

from .harness import OTHER, TENANT, Bench, make_bench


async def push(bench: Bench, key: str, payload: Any = None, **fields: Any) -> UserEvent:
    new = NewUserEvent(key, json.dumps({} if payload is None else payload).encode(), **fields)
    event = await bench.engine.push_event(TENANT, new, Origin())
    await bench.settle()
    return event


def runs_of(bench: Bench, event: UserEvent) -> list[UUID]:
    return [link.run_id for link in bench.tables.links[event.id]]


async def add_filter(bench: Bench, workflow: str, expression: str, scope: str, payload: Any = None) -> UUID:
    workflow_id = bench.tables.newest[(TENANT, workflow)].workflow_id
    text = json.dumps(payload or {}).encode()
    return (await bench.engine.filters.create(TENANT, workflow_id, scope, expression, text)).id


async def test_an_event_starts_each_workflow_that_declares_its_key() -> None:
    bench = await make_bench()
    await bench.register(name="one", event_triggers=("user:created", "other"))
    await bench.register(name="two", event_triggers=("user:*",))
    await bench.register(name="three", event_triggers=("order:*",))
    before = bench.ledger.commits
    event = await push(bench, "user:created", {"n": 1}, metadata=b'{"a":"b"}', priority=3)
    assert bench.ledger.commits == before + 1
    runs = runs_of(bench, event)
    names = {bench.tables.versions[bench.row(run).facts.version_id].definition.name for run in runs}
    assert names == {"one", "two"}
    for run in runs:
        facts = bench.row(run).facts
        assert facts.input == event.payload
        assert facts.priority == 3
        metadata = json.loads(facts.metadata)
        assert metadata["a"] == "b"
        assert metadata["hatchet__event_id"] == str(event.id)
        assert metadata["hatchet__event_key"] == "user:created"
        assert "traceparent" in metadata
    assert bench.count("hatchet.events.pushed") == 1
    assert bench.count("hatchet.events.runs") == 2
    await bench.close()


async def test_an_event_that_nobody_asks_for_is_stored() -> None:
    bench = await make_bench()
    event = await push(bench, "nobody", scope="s")
    stored = bench.tables.events[event.id].event
    assert (stored.key, stored.scope, stored.metadata) == ("nobody", "s", b"{}")
    assert bench.tables.links[event.id] == []
    await bench.close()


async def test_only_the_newest_version_counts_and_only_later_events() -> None:
    bench = await make_bench()
    early = await push(bench, "k")
    await bench.register(event_triggers=("k",))
    assert runs_of(bench, early) == []
    assert len(runs_of(bench, await push(bench, "k"))) == 1
    await bench.register(event_triggers=("j",))
    assert runs_of(bench, await push(bench, "k")) == []
    assert len(runs_of(bench, await push(bench, "j"))) == 1
    await bench.close()


async def test_another_tenants_events_start_nothing() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    event = await bench.engine.push_event(OTHER, NewUserEvent("k", b"{}"), Origin())
    assert runs_of(bench, event) == []
    await bench.close()


async def test_filters_decide_by_scope_and_expression_a_run_each() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    first = await add_filter(bench, "flow", "input.n > payload.least", "s", {"least": 1})
    second = await add_filter(
        bench, "flow", "additional_metadata.a == 'b' && event_key == 'k'", "s", {"x": "y"}
    )
    await add_filter(bench, "flow", "true", "t")
    assert runs_of(bench, await push(bench, "k", {"n": 5})) == []
    assert runs_of(bench, await push(bench, "k", {"n": 5}, scope="unknown")) == []
    both = await push(bench, "k", {"n": 5}, scope="s", metadata=b'{"a":"b"}')
    links = bench.tables.links[both.id]
    assert [link.filter_id for link in links] == [first, second]
    worker = await bench.worker()
    payloads = [json.loads(action.payload) for action in worker.starts]
    assert [payload["triggers"] for payload in payloads] == [
        {"filter_payload": {"least": 1}},
        {"filter_payload": {"x": "y"}},
    ]
    assert [payload["input"] for payload in payloads] == [{"n": 5}, {"n": 5}]
    one = await push(bench, "k", {"n": 1}, scope="s", metadata=b'{"a":"b"}')
    assert [link.filter_id for link in bench.tables.links[one.id]] == [second]
    await bench.close()


async def test_declared_filters_are_replaced_with_their_version() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",), default_filters=(DefaultFilter("false", "s"),))
    kept = await add_filter(bench, "flow", "true", "api")
    assert runs_of(bench, await push(bench, "k", scope="s")) == []
    await bench.register(event_triggers=("k",), default_filters=(DefaultFilter("true", "s", b'{"a":1}'),))
    event = await push(bench, "k", scope="s")
    assert len(runs_of(bench, event)) == 1
    assert bench.row(runs_of(bench, event)[0]).facts.triggers == b'{"filter_payload":{"a":1}}'
    assert [link.filter_id for link in bench.tables.links[(await push(bench, "k", scope="api")).id]] == [kept]
    await bench.close()


async def test_expressions_that_fail_start_nothing_and_are_recorded() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    bad = await add_filter(bench, "flow", "input.missing == 1", "s")
    await add_filter(bench, "flow", "true", "s")
    event = await push(bench, "k", scope="s")
    assert len(runs_of(bench, event)) == 1
    failures = bench.tables.events[event.id].failures
    assert [(one.source, one.filter_id) for one in failures] == [(FailureSource.FILTER, bad)]
    assert 'Key not found in map : "missing"' in failures[0].message
    assert bench.count("hatchet.events.expressions.failed") == 1
    await bench.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": ""}, "key: must not be empty"),
        ({"key": "k" * 1_025}, "key: longer than 1024 bytes"),
        ({"key": "a\x00"}, r"key: must not contain U\+0000"),
        ({"key": "\ud800"}, "key: holds half a surrogate pair"),
        ({"scope": "\x00"}, r"scope: must not contain U\+0000"),
        ({"payload": b"{"}, "payload: invalid JSON"),
        ({"payload": b""}, "payload: invalid JSON"),
        ({"payload": b"[1]"}, "payload: must be a JSON object"),
        ({"payload": rb'{"a":"\u0000"}'}, r"payload: must not contain U\+0000"),
        ({"payload": b'{"a":"' + b"x" * (4 * 1024 * 1024) + b'"}'}, "payload: larger than 4194304 bytes"),
        ({"metadata": b"1"}, "additional_metadata: must be a JSON object"),
        ({"priority": 4}, "priority: must be 1, 2 or 3, not 4"),
        ({"priority": 0}, "priority: must be 1, 2 or 3, not 0"),
    ],
)
async def test_a_wrong_event_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    bench = await make_bench()
    with pytest.raises(InvalidArgument, match=words):
        await bench.engine.push_event(
            TENANT, NewUserEvent(**{"key": "k", "payload": b"{}", **fields}), Origin()
        )
    assert not bench.tables.events
    await bench.close()


async def test_a_wrong_event_of_a_bulk_is_refused_alone() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    events = [NewUserEvent("k", b"{}"), NewUserEvent("k", b"nonsense"), NewUserEvent("k", b'{"n":3}')]
    answers = await bench.engine.push_events(TENANT, events, Origin())
    assert isinstance(answers[0], UserEvent)
    assert isinstance(answers[1], Refusal)
    assert isinstance(answers[2], UserEvent)
    assert answers[1].index == 1
    assert [bench.tables.events[answers[at].id].event.payload for at in (0, 2)] == [b"{}", b'{"n":3}']
    assert len(bench.tables.tasks) == 2
    await bench.close()


async def test_one_that_the_database_refuses_leaves_the_bulk_alone() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    bench.ledger.refuse = lambda item: (
        ResourceExhausted("full") if getattr(item, "facts", None) and item.facts.input == b'{"n":2}' else None
    )
    events = [NewUserEvent("k", f'{{"n":{n}}}'.encode()) for n in (1, 2, 3)]
    answers = await bench.engine.push_events(TENANT, events, Origin())
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False]
    assert len(bench.tables.events) == 2
    await bench.close()


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_bulk_has_between_one_and_a_thousand(count: int) -> None:
    bench = await make_bench()
    with pytest.raises(InvalidArgument, match="events: between 1 and 1000 in one call"):
        await bench.engine.push_events(TENANT, [NewUserEvent("k", b"{}")] * count, Origin())
    await bench.close()


async def test_a_bulk_shares_commits() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    await push(bench, "k")
    before = bench.ledger.commits
    await bench.engine.push_events(TENANT, [NewUserEvent("k", b"{}")] * 1_000, Origin())
    assert len(bench.tables.events) == 1_001
    assert bench.ledger.commits - before <= 3
    await bench.close()


async def test_an_event_that_would_start_too_much_is_refused_whole() -> None:
    bench = await make_bench(event_runs_limit=2, event_fanout_bytes=30)
    for at in range(3):
        await bench.register(name=f"flow-{at}", event_triggers=("k",) if at else ("k", "j"))
    with pytest.raises(ResourceExhausted, match="would start 3 runs; at most 2"):
        await push(bench, "k")
    await push(bench, "j", {"a": "x" * 15})
    with pytest.raises(ResourceExhausted, match="31 bytes; at most 30"):
        await push(bench, "j", {"a": "x" * 22})
    assert len(bench.tables.events) == 1
    await bench.close()


async def test_while_the_database_is_away_nothing_is_acknowledged() -> None:
    bench = await make_bench()
    bench.ledger.go_away()
    with pytest.raises(Unavailable):
        await push(bench, "k")
    bench.ledger.come_back()
    await bench.settle()
    await bench.close()


async def test_an_unrunnable_workflow_does_not_hold_the_others_up_and_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = await make_bench()
    await bench.register(name="durable", event_triggers=("k",), step={"durable": True})
    await bench.register(name="plain", event_triggers=("k",))
    for _ in range(3):
        assert len(runs_of(bench, await push(bench, "k"))) == 1
    assert bench.count("hatchet.events.runs.skipped") == 3
    (line,) = [one.getMessage() for one in caplog.records if "starts no run" in one.getMessage()]
    assert "starts no run of durable: " in line
    caplog.clear()
    await bench.advance(60)
    await push(bench, "k")
    (line,) = [one.getMessage() for one in caplog.records if "starts no run" in one.getMessage()]
    assert "2 like it since the last line" in line
    await bench.close()


async def test_a_taken_key_means_no_run_and_no_error() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",), idempotency=Idempotency("input.id", 60_000))
    first = await push(bench, "k", {"id": "a"})
    second = await push(bench, "k", {"id": "a"})
    assert (len(runs_of(bench, first)), len(runs_of(bench, second))) == (1, 0)
    broken = await push(bench, "k", {})
    assert [one.source for one in bench.tables.events[broken.id].failures] == [FailureSource.IDEMPOTENCY]
    assert runs_of(bench, broken) == []
    await bench.close()


async def test_of_one_event_the_run_that_holds_the_key_longest_starts() -> None:
    bench = await make_bench()
    await bench.register(name="short", event_triggers=("k",), idempotency=Idempotency("input.id", 2_000))
    await bench.register(name="wide", event_triggers=("k",), idempotency=Idempotency("input.id", 60_000))
    event = await push(bench, "k", {"id": "a"})
    (run,) = runs_of(bench, event)
    assert bench.tables.versions[bench.row(run).facts.version_id].definition.name == "wide"
    held, holder = bench.tables.keys[(TENANT, "a")]
    assert holder == run
    assert held.expires_at == bench.row(run).facts.created_at + timedelta(seconds=60)
    await bench.close()


async def test_a_listener_is_told_after_the_commit_and_before_the_answer() -> None:
    bench = await make_bench()
    told: list[tuple[UUID, bool]] = []

    class Listener:
        async def delivered(self, event: UserEvent) -> None:
            told.append((event.id, event.id in bench.tables.events))

    bench.engine._events._listeners = (Listener(),)
    event = await push(bench, "k")
    assert told == [(event.id, True)]
    await bench.close()


async def test_runs_of_an_event_go_on_after_a_crash_with_what_they_were_given() -> None:
    bench = await make_bench()
    await bench.register(event_triggers=("k",))
    await add_filter(bench, "flow", "true", "s", {"a": 1})
    event = await push(bench, "k", {"n": 1}, scope="s")
    bench.ledger.crash()
    after = await make_bench(bench.tables, bench.clock, seed=1)
    worker = await after.worker()
    (start,) = worker.starts
    assert json.loads(start.payload)["triggers"] == {"filter_payload": {"a": 1}}
    await after.report(EventKind.COMPLETED, start.task_id, b"{}", 0)
    assert after.state(runs_of(after, event)[0]) is TaskState.COMPLETED
    await after.close()
