"""An event, its filters and its runs are one connected trace; a kill loses none of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire import events_pb2 as ev
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.telemetry.conformance import span_violations
from broadaxe.telemetry.context import event_span_id, run_trace_id
from broadaxe.testkit.database import Databases
from broadaxe.testkit.trace_assert import Forest
from tests.faults.wire import COMPLETED
from tests.telemetry.shape import drawn_shape
from tests.telemetry.stage import PREFIX, Caller, Stage, report, staged, whole_rules

GOLDEN = Path(__file__).parent / "golden" / "event.txt"
CANARY = "canary-51c0"
CALLER = "cd" * 8
PAYLOAD = json.dumps({"secret": CANARY, "n": 5})


@pytest.fixture
async def stage(databases: Databases, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(databases, tmp_path, SERVER_STARTED_COMMIT_DELAY="5s") as one:
        yield one


async def register(caller: Caller, name: str, *filters: tuple[str, str]) -> None:
    task = v1.CreateTaskOpts(readable_id="step", action=f"{name}:step", timeout="30s", inputs="{}")
    declared = [v1.DefaultFilter(expression=text, scope=scope) for text, scope in filters]
    request = v1.CreateWorkflowVersionRequest(
        name=name, tasks=[task], event_triggers=["told:*"], default_filters=declared
    )
    await caller.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)


async def push(caller: Caller, metadata: str = "", key: str = "told:it") -> UUID:
    request = ev.PushEventRequest(key=key, payload=PAYLOAD, scope="s")
    if metadata:
        request.additional_metadata = metadata
    return UUID((await caller.call("/EventsService/Push", request, ev.Event)).event_id)


async def runs_of(stage: Stage, event_id: UUID) -> list[UUID]:
    rows = await stage.cluster.fetch("SELECT run_id FROM event_run WHERE event_id = $1", event_id)
    return [row[0] for row in rows]


async def test_push_filters_and_runs_are_one_connected_trace(stage: Stage) -> None:
    await stage.cluster.start("server")
    async with stage.caller() as caller:
        await register(caller, "plain")
        await register(caller, "picky", ("input.n > 3", "s"), ("input.n > 9", "s"), ("input.no == 1", "s"))
        # The first event reads what there is to match; the second is the usual one.
        await push(caller, key="nobody")
        worker = await stage.worker("plain", "picky", client=caller)
        event_id = await push(caller)
        called = await push(caller, json.dumps({"traceparent": f"00-{'ab' * 16}-{CALLER}-01"}))
        for one in (event_id, called):
            runs = await runs_of(stage, one)
            assert len(runs) == 2
            for run in runs:
                await report(worker, await worker.start_of(run), COMPLETED, "{}")
        await worker.die()
    await stage.stop_all()
    spans = stage.trace(run_trace_id(event_id))
    Forest(stage.collector.spans).check(whole_rules(frozenset((CALLER,))))
    assert span_violations(stage.collector.spans) == []
    (root,) = [span for span in spans if not span.parent_id]
    assert (root.name, root.span_id) == (PREFIX + "event", event_span_id(event_id).hex())
    assert all(CANARY not in repr(span) for span in stage.collector.spans)
    shape = drawn_shape(spans)
    if not GOLDEN.exists():
        GOLDEN.write_text(shape)
        pytest.fail(f"{GOLDEN.name} was not there; it is now: look at it")
    assert shape == GOLDEN.read_text(), f"differs from golden/{GOLDEN.name}; remove it to have it anew"
    given = stage.trace("ab" * 16)
    (event,) = [span for span in given if span.name == PREFIX + "event"]
    assert (event.span_id, event.parent_id) == (event_span_id(called).hex(), CALLER)
    above = [span.parent_id for span in given if span.name == PREFIX + "run"]
    assert above == [event.span_id] * 2


async def test_a_kill_after_a_push_leaves_no_run_without_its_event(stage: Stage) -> None:
    engine = await stage.cluster.start("server")
    async with stage.caller() as caller:
        await register(caller, "plain")
        events = [await push(caller) for _ in range(20)]
        await stage.cluster.kill(engine)
        await stage.cluster.start("server")
        worker = await stage.worker("plain", client=caller)
        for event_id in events:
            (run,) = await runs_of(stage, event_id)
            await report(worker, await worker.start_of(run), COMPLETED, "{}")
        await worker.die()
    await stage.stop_all()
    Forest(stage.collector.spans).check(whole_rules(repeated=True))
    for event_id in events:
        spans = stage.trace(run_trace_id(event_id))
        assert {span.span_id for span in spans if span.name == PREFIX + "event"} == {
            event_span_id(event_id).hex()
        }
        assert len({span.span_id for span in spans if span.name == PREFIX + "run"}) == 1
