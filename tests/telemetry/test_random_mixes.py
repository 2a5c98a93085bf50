"""Any mix of runs leaves whole traces and nothing undeclared: Hypothesis picks, real processes play."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadaxe.telemetry.conformance import metric_violations, span_violations
from broadaxe.telemetry.context import run_span_id
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.trace_assert import Forest
from tests.faults.wire import COMPLETED, FAILED, STARTED, Got, RawWorker
from tests.telemetry.stage import PREFIX, Caller, Stage, item, report, staged, whole_rules
from tests.telemetry.test_callers import fresh

OUTCOMES = ("complete", "complete-twice", "fail", "fail-for-good", "cancel")


@dataclass(frozen=True)
class Plan:
    """What is to happen to one run."""

    caller: str
    outcomes: tuple[str, ...]
    """By attempt; the last one repeats."""
    started: bool
    children: tuple[str, ...]
    """Child keys, perhaps the same one twice."""


PLANS = st.builds(
    Plan,
    caller=st.sampled_from(("none", "metadata", "header", "unsampled")),
    outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=3).map(tuple),
    started=st.booleans(),
    children=st.lists(st.sampled_from("ab"), max_size=3).map(tuple),
)


class Mix:
    """A server, a worker that does what plans say, and what callers exist outside."""

    def __init__(self, stage: Stage, caller: Caller, worker: RawWorker) -> None:
        self.stage = stage
        self.caller = caller
        self.worker = worker
        self.plans: dict[int, Plan] = {}
        self.outside: set[str] = set()
        self.runs: list[UUID] = []
        self.sampled: list[UUID] = []
        worker.auto = self.act

    async def act(self, got: Got) -> None:
        """The worker's part."""
        plan = self.plans[got.input["n"]]
        outcome = plan.outcomes[min(got.attempt, len(plan.outcomes) - 1)]
        if plan.started:
            await report(self.worker, got, STARTED)
        if got.attempt == 0 and "depth" not in got.input:
            await self._spawn(got, plan)
        if outcome == "cancel":
            await self.caller.cancel(got.task_id)
        elif outcome.startswith("complete"):
            for _ in range(2 if outcome == "complete-twice" else 1):
                await report(self.worker, got, COMPLETED, "{}")
        else:
            await report(self.worker, got, FAILED, "Error: no", should_not_retry=outcome == "fail-for-good")

    async def _spawn(self, got: Got, plan: Plan) -> None:
        given = json.loads(got.raw.additional_metadata)["traceparent"]
        common = {
            "parent_id": str(got.task_id),
            "parent_task_run_external_id": str(got.task_id),
            "input": json.dumps({**got.input, "depth": 1}),
        }
        async with self.stage.caller(given) as inside:
            for key in plan.children:
                await inside.start("mix", child_key=key, **common)

    async def play(self, plans: list[Plan], bulk: bool) -> None:
        """All of them at once; returns when each has ended."""
        first = len(self.plans)
        items, starts = [], []
        for number, plan in enumerate(plans, first):
            self.plans[number] = plan
            traceparent = fresh("00" if plan.caller == "unsampled" else "01")
            if plan.caller in ("metadata", "header"):
                self.outside.add(traceparent[36:52])
            body = json.dumps({"n": number})
            sent = (
                json.dumps({"traceparent": traceparent}) if plan.caller in ("metadata", "unsampled") else None
            )
            if plan.caller == "header" or not bulk:
                starts.append(self._start(traceparent if plan.caller == "header" else None, body, sent))
            else:
                items.append(item("mix", metadata=sent, input=body))
        runs = list(await asyncio.gather(*starts))
        if items:
            runs += await self.caller.start_many(items)
        await self.caller.results(*runs)
        self.runs += runs

    async def _start(self, traceparent: str | None, body: str, sent: str | None) -> UUID:
        async with self.stage.caller(traceparent) as caller:
            return await caller.start("mix", metadata=sent, input=body)

    def problems(self) -> list[str]:
        """What is wrong with all that has arrived so far."""
        spans = self.stage.collector.spans
        return Forest(spans).problems(whole_rules(frozenset(self.outside))) + span_violations(spans)


@pytest.fixture(scope="module")
async def mix(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mix]:
    env = {"SERVER_OTEL_METRICS_ENABLED": "true", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    async with staged(databases, tmp_path_factory.mktemp("mix"), **env) as stage:
        await stage.cluster.start("server")
        async with stage.caller() as caller:
            await caller.put("mix", retries=1)
            worker = await stage.worker("mix", client=caller, slots=8)
            yield Mix(stage, caller, worker)
            await worker.die()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(plans=st.lists(PLANS, min_size=1, max_size=12), bulk=st.booleans())
async def test_any_mix_of_runs_leaves_whole_traces(mix: Mix, plans: list[Plan], bulk: bool) -> None:
    before = len(mix.runs)
    await mix.play(plans, bulk)
    wanted = {
        run_span_id(run).hex()
        for run in mix.runs[before:]
        if mix.plans[await _number(mix, run)].caller != "unsampled"
    }

    def arrived() -> bool:
        return wanted <= {span.span_id for span in mix.stage.collector.spans}

    await until(arrived, "the runs' own spans", period=0.05)
    # Parents of what has arrived may be on their way; in the end nothing is wrong.
    await until(lambda: not mix.problems(), "whole traces", period=0.1)


async def _number(mix: Mix, run: UUID) -> int:
    return int(json.loads((await mix.caller.details(run)).input)["n"])


async def test_after_all_mixes_everything_is_whole_and_declared(mix: Mix) -> None:
    assert mix.runs, "this follows the mixes"
    await mix.worker.die()
    await mix.stage.stop_all()
    spans = mix.stage.collector.spans
    Forest(spans).check(whole_rules(frozenset(mix.outside)))
    assert span_violations(spans) == []
    for request in mix.stage.collector.receiver.metrics:
        assert metric_violations(request) == []
    names = {span.name.removeprefix(PREFIX) for span in spans}
    assert {"run", "attempt", "ingest", "send-cancel", "flush"} <= names
