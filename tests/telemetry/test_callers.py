"""The caller's place in a trace: where it is taken from, what it decides, what the worker is given."""

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire.v1.shared import condition_pb2 as cp
from broadaxe.telemetry.context import attempt_span_id, run_span_id, run_trace_id
from broadaxe.telemetry.sampler import Sampler
from broadaxe.testkit.database import Databases
from broadaxe.testkit.trace_assert import Forest
from tests.faults.wire import COMPLETED, RawWorker
from tests.telemetry.stage import PREFIX, Caller, Stage, item, report, staged, whole_rules

HERE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
THERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fresh(flag: str = "01") -> str:
    """A traceparent nobody had before."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-{flag}"


async def completed(worker: RawWorker, run: UUID) -> dict[str, str]:
    """Complete a run; the metadata that its worker was given."""
    got = await worker.start_of(run)
    await report(worker, got, COMPLETED, "{}")
    found: dict[str, str] = json.loads(got.raw.additional_metadata)
    return found


async def root_of(stage: Stage, run: UUID) -> Forest:
    """The trace that the run's own span is in, once that has arrived."""
    wanted = run_span_id(run).hex()
    await stage.collector.wait_for(
        lambda: any(span.span_id == wanted for span in stage.collector.spans), f"the run's span of {run}"
    )
    (found,) = [span for span in stage.collector.spans if span.span_id == wanted]
    return Forest(stage.trace(found.trace_id))


@pytest.fixture(scope="module")
async def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(databases, tmp_path_factory.mktemp("callers")) as stage:
        await stage.cluster.start("server")
        async with stage.caller() as caller:
            await caller.put("flow")
        yield stage


@pytest.fixture
async def worker(server: Stage) -> AsyncIterator[RawWorker]:
    async with server.caller() as client:
        worker = await server.worker("flow", client=client)
        yield worker
        await worker.die()


@pytest.mark.parametrize(
    ("in_metadata", "in_header", "taken"),
    [(HERE, None, HERE), (None, THERE, THERE), (HERE[:-1] + "1", THERE, HERE), ("nonsense", None, None)],
    ids=["additional_metadata", "grpc-metadata", "both", "invalid"],
)
async def test_run_continues_its_callers_trace(
    server: Stage, worker: RawWorker, in_metadata: str | None, in_header: str | None, taken: str | None
) -> None:
    sent = json.dumps({"traceparent": in_metadata, "b": 1}) if in_metadata else '{"b": 1}'
    async with server.caller(in_header) as caller:
        run = await caller.start("flow", metadata=sent)
        given = await completed(worker, run)
        stored = (await caller.details(run)).additional_metadata
    forest = await root_of(server, run)
    (root,) = [
        span
        for span in forest.spans
        if span.name == PREFIX + "run" and span.span_id == run_span_id(run).hex()
    ]
    if taken is None:
        assert (root.trace_id, root.parent_id) == (run_trace_id(run).hex(), "")
    else:
        assert (root.trace_id, root.parent_id) == (taken[3:35], taken[36:52])
    # The worker hangs its spans below the attempt; what is stored is as it came.
    assert given["traceparent"] == f"00-{root.trace_id}-{attempt_span_id(run, 0).hex()}-01"
    if in_metadata == taken and taken is not None:
        assert stored.decode() == sent
    assert json.loads(stored)["b"] == 1
    assert json.loads(stored)["traceparent"] != given["traceparent"]


@pytest.mark.parametrize("place", ["additional_metadata", "grpc-metadata"])
async def test_run_of_a_caller_that_is_not_sampled_leaves_no_span_and_its_metadata_byte_for_byte(
    server: Stage, worker: RawWorker, place: str
) -> None:
    refused = fresh("00")
    sent = '{ "traceparent":"' + refused + '",  "x": [1,2] }' if place == "additional_metadata" else '{"x":1}'
    async with server.caller(refused if place == "grpc-metadata" else None) as caller:
        run = await caller.start("flow", metadata=sent)
        got = await worker.start_of(run)
        await report(worker, got, COMPLETED, "{}")
    if place == "additional_metadata":
        assert got.raw.additional_metadata == sent
    async with server.caller() as other:  # a later trace has arrived, so would this one have
        await root_of(server, await _run(other, worker))
    assert server.trace(refused[3:35]) == []


async def _run(caller: Caller, worker: RawWorker) -> UUID:
    run = await caller.start("flow")
    await completed(worker, run)
    return run


async def test_run_without_a_caller_gives_its_worker_the_attempts_place(
    server: Stage, worker: RawWorker
) -> None:
    async with server.caller() as caller:
        run = await caller.start("flow")
        given = await completed(worker, run)
        stored = json.loads((await caller.details(run)).additional_metadata)
    trace_id = run_trace_id(run).hex()
    assert given["traceparent"] == f"00-{trace_id}-{attempt_span_id(run, 0).hex()}-01"
    assert stored["traceparent"] == f"00-{trace_id}-{run_span_id(run).hex()}-01"


@pytest.mark.parametrize(
    "settings",
    [{"SERVER_OTEL_PROPAGATE_TO_WORKERS": "false"}, {"SERVER_OTEL_COLLECTOR_URL": ""}],
    ids=["propagation-off", "telemetry-off"],
)
async def test_worker_without_propagation_gets_the_deterministic_place_or_the_callers(
    databases: Databases, tmp_path: Path, settings: dict[str, str]
) -> None:
    async with staged(databases, tmp_path, **settings) as stage:
        await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            run = await caller.start("flow")
            given = await completed(worker, run)
            sent = json.dumps({"traceparent": HERE}, indent=2)
            own = await caller.start("flow", metadata=sent)
            got = await worker.start_of(own)
            await worker.die()
        assert given["traceparent"] == f"00-{run_trace_id(run).hex()}-{run_span_id(run).hex()}-01"
        assert got.raw.additional_metadata == sent


async def test_ratio_of_a_quarter_keeps_exactly_the_traces_of_its_ids_and_those_whole(
    databases: Databases, tmp_path: Path
) -> None:
    count = 400
    async with staged(databases, tmp_path, SERVER_OTEL_TRACE_ID_RATIO="0.25") as stage:
        await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller, slots=2000)
            callers = [fresh() for _ in range(count)]
            refused = [fresh("00") for _ in range(100)]
            alone = await caller.start_many([item("flow") for _ in range(count)])
            below = await caller.start_many(
                [item("flow", metadata=json.dumps({"traceparent": one})) for one in (*callers, *refused)]
            )
            one_by_one = [await caller.start("flow") for _ in range(60)]
            got = [await worker.start_of(run) for run in (*alone, *below, *one_by_one)]
            for at in range(0, len(got), 50):
                await asyncio.gather(*(report(worker, one, COMPLETED, "{}") for one in got[at : at + 50]))
            await worker.die()
        await stage.stop_all()
        decide = Sampler(0.25).decide
        expected = {run_trace_id(run).hex() for run in (*alone, *one_by_one) if decide(run_trace_id(run))}
        expected |= {one[3:35] for one in callers if decide(bytes.fromhex(one[3:35]))}
        traces = stage.collector.traces()
        kept = {key for key, spans in traces.items() if any(span.name == PREFIX + "run" for span in spans)}
        assert kept == expected
        # The ids are the dice's: six sigma are left once in a billion runs, three once in 370.
        total = 2 * count + 60
        assert abs(len(kept) - total / 4) <= 6 * math.sqrt(total * 0.25 * 0.75)
        # Whole ones: nothing is left over of a trace that is not kept.
        pieces = ("Trigger", "SendStepActionEvent", "flush", "commit-wait", "send", "attempt")
        for key in traces.keys() - kept:
            assert not [span.name for span in traces[key] if any(one in span.name for one in pieces)]
        outside = frozenset(one[36:52] for one in callers)
        Forest(stage.collector.spans).check(whole_rules(outside))
        for key in kept:
            names = [span.name.removeprefix(PREFIX) for span in traces[key]]
            assert {"run", "attempt", "queue-wait", "assign", "send"} <= set(names)
            assert names.count("flush") + names.count("commit-wait") >= 2
            assert "Dispatcher/SendStepActionEvent" in names


async def test_ratio_zero_sends_nothing(databases: Databases, tmp_path: Path) -> None:
    async with staged(databases, tmp_path, SERVER_OTEL_TRACE_ID_RATIO="0") as stage:
        await stage.cluster.start("engine")
        async with stage.caller() as caller, stage.caller(HERE) as traced:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            for client in (caller, traced):
                await completed(worker, await client.start("flow"))
            await worker.die()
        await stage.stop_all()
        assert stage.collector.requests == 0


@pytest.fixture(scope="module")
async def apart(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Engine and API server as two processes, each with a service name of its own."""
    async with staged(databases, tmp_path_factory.mktemp("apart")) as stage:
        await stage.cluster.start("engine", SERVER_OTEL_SERVICE_NAME="engine")
        await stage.cluster.start(
            "api",
            SERVER_OTEL_SERVICE_NAME="api",
            SERVER_PROMETHEUS_ENABLED="false",
            SERVER_HEALTHCHECK_PORT="0",
        )
        async with stage.caller() as caller:
            await caller.put("flow")
        yield stage


@pytest.mark.parametrize("place", ["nowhere", "http-header", "additionalMetadata", "unsampled"])
async def test_rest_trigger_is_one_trace_across_api_and_engine(apart: Stage, place: str) -> None:
    traceparent = fresh("00" if place == "unsampled" else "01")
    headers = {"traceparent": traceparent} if place in ("http-header", "unsampled") else {}
    metadata = {"traceparent": traceparent} if place == "additionalMetadata" else {}
    async with apart.caller() as client:
        worker = await apart.worker("flow", client=client)
        answer = await apart.rest(
            "POST",
            "/api/v1/stable/tenants/{tenant}/workflow-runs/trigger",
            json={"workflowName": "flow", "input": {}, "additionalMetadata": metadata},
            headers=headers,
        )
        assert answer.status_code == 200, answer.text
        run = UUID(answer.json()["run"]["metadata"]["id"])
        await completed(worker, run)
        if place == "unsampled":
            await root_of(apart, await _run(client, worker))
            assert apart.trace(traceparent[3:35]) == []
            await worker.die()
            return
        await worker.die()
    trace_id = run_trace_id(run).hex() if place == "nowhere" else traceparent[3:35]
    wanted = {"engine", "api"}
    await apart.collector.wait_for(
        lambda: {span.service for span in apart.trace(trace_id)} == wanted and _ended(apart, trace_id),
        f"spans of both services in {trace_id}",
    )
    forest = Forest(apart.trace(trace_id))
    forest.check(whole_rules(frozenset((traceparent[36:52],))))
    (run_span,) = [span for span in forest.spans if span.name == PREFIX + "run"]
    (http,) = [span for span in forest.spans if span.service == "api" and span.kind == "SERVER"]
    assert http.parent_id == run_span.span_id
    assert http.attributes["http.response.status_code"] == 200
    assert run_span.parent_id == ("" if place == "nowhere" else traceparent[36:52])


async def test_rest_trigger_of_a_run_without_a_task_yet_is_in_the_runs_trace(apart: Stage) -> None:
    base = cp.BaseMatchCondition(readable_data_key="nap", action=cp.QUEUE, or_group_id="nap")
    nap = cp.SleepMatchCondition(base=base, sleep_for="1h")
    async with apart.caller() as caller:
        await caller.put("sleeper", conditions=cp.TaskConditions(sleep_conditions=[nap]))
    answer = await apart.rest(
        "POST",
        "/api/v1/stable/tenants/{tenant}/workflow-runs/trigger",
        json={"workflowName": "sleeper", "input": {}, "additionalMetadata": {}},
    )
    assert answer.status_code == 200, answer.text
    run = UUID(answer.json()["run"]["metadata"]["id"])
    assert await apart.cluster.value("SELECT count(*) FROM task WHERE run_id = $1", run) == 0
    body = {"externalIds": [str(run)]}
    assert (await apart.rest("POST", "/api/v1/stable/tenants/{tenant}/tasks/cancel", json=body)).is_success
    trace_id = run_trace_id(run).hex()
    await apart.collector.wait_for(
        lambda: (
            {"api", "engine"} == {span.service for span in apart.trace(trace_id)}
            and any(span.name == PREFIX + "run" for span in apart.trace(trace_id))
        ),
        f"the run's span and the request's in {trace_id}",
    )
    forest = Forest(apart.trace(trace_id))
    forest.check(whole_rules())
    (http,) = [span for span in forest.spans if span.service == "api" and span.kind == "SERVER"]
    assert http.parent_id == run_span_id(run).hex()


def _ended(stage: Stage, trace_id: str) -> bool:
    """Whether the run of this trace is over and its last report was answered."""
    names = [span.name.removeprefix(PREFIX) for span in stage.trace(trace_id)]
    return "run" in names and "Dispatcher/SendStepActionEvent" in names and names.count("flush") == 2


async def _cancel(stage: Stage, run: UUID) -> None:
    answer = await stage.rest(
        "POST", "/api/v1/stable/tenants/{tenant}/tasks/cancel", json={"externalIds": [str(run)]}
    )
    assert answer.json()["ids"] == [str(run)], answer.text


@pytest.mark.parametrize(("engine", "api"), [("0.4", "1"), ("1", "0.4")])
async def test_different_ratios_of_engine_and_api_tear_no_trace(
    databases: Databases, tmp_path: Path, engine: str, api: str
) -> None:
    async with staged(databases, tmp_path) as stage:
        await stage.cluster.start(
            "engine", SERVER_OTEL_SERVICE_NAME="engine", SERVER_OTEL_TRACE_ID_RATIO=engine
        )
        await stage.cluster.start(
            "api",
            SERVER_OTEL_SERVICE_NAME="api",
            SERVER_OTEL_TRACE_ID_RATIO=api,
            SERVER_PROMETHEUS_ENABLED="false",
            SERVER_HEALTHCHECK_PORT="0",
        )
        async with stage.caller() as client:
            await client.put("unserved")
            runs = []
            for _ in range(20):
                answer = await stage.rest(
                    "POST",
                    "/api/v1/stable/tenants/{tenant}/workflow-runs/trigger",
                    json={"workflowName": "unserved", "input": {}, "additionalMetadata": {}},
                )
                runs.append(UUID(answer.json()["run"]["metadata"]["id"]))
                await _cancel(stage, runs[-1])
        await stage.stop_all()
        spans = [span for trace in stage.collector.traces().values() for span in trace]
    Forest(spans).check(whole_rules())
    kept = Sampler(float(engine))
    for run in runs:
        trace = [span for span in spans if span.trace_id == run_trace_id(run).hex()]
        wanted = {"engine", "api"} if kept.decide(run_trace_id(run)) else set()
        assert {span.service for span in trace} == wanted, (
            "the run's trace is the engine's decision, all of it"
        )
    asked = {span.span_id: span for span in spans if span.service == "api" and "cancel" in span.name}
    done = [span for span in spans if span.name == PREFIX + "v1.AdminService/CancelTasks"]
    assert {span.parent_id for span in done} <= asked.keys(), "one trace across both"
    if engine == "1":
        assert len(done) == len(asked)
    if api == "1":
        assert len(asked) == len(runs)


async def test_health_pages_are_not_traced(apart: Stage) -> None:
    for _ in range(3):
        assert (await apart.rest("GET", "/api/live")).status_code == 200
        assert (await apart.rest("GET", "/api/ready")).status_code == 200
        assert await apart.cluster.health("/live") == 200
        assert await apart.cluster.health("/ready") == 200
    async with apart.caller() as client:
        worker = await apart.worker("flow", client=client)
        await root_of(apart, await _run(client, worker))
        await worker.die()
    names = {span.name for span in apart.collector.spans}
    assert not [name for name in names if "/live" in name or "/ready" in name or "Heartbeat" in name]
