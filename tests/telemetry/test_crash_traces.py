"""kill -9 orphans nothing: what follows from rows is told again by the next process, under the same ids."""

import random
from collections import Counter
from pathlib import Path

import pytest

from broadaxe.telemetry.context import attempt_span_id, queue_span_id, run_span_id
from broadaxe.testkit.database import Databases
from broadaxe.testkit.trace_assert import Forest
from tests.faults.wire import COMPLETED, FAILED, patiently
from tests.telemetry.stage import PREFIX, Stage, report, staged, whole_rules

SLOW = {"OTEL_BSP_SCHEDULE_DELAY": "2000"}


def assert_whole_after_a_kill(stage: Stage) -> None:
    """One root and no orphan each; a span that came twice is the same span."""
    spans = stage.collector.spans
    Forest(spans).check(whole_rules(repeated=True))
    twice = [
        key for key, times in Counter((span.trace_id, span.span_id) for span in spans).items() if times > 1
    ]
    for trace_id, span_id in twice:
        same = {
            (span.name, span.parent_id, span.start_ns, span.end_ns, span.links, span.error)
            for span in spans
            if (span.trace_id, span.span_id) == (trace_id, span_id)
        }
        assert len(same) == 1, same


async def test_run_that_ended_just_before_the_kill_is_told_by_the_next_process(
    databases: Databases, tmp_path: Path
) -> None:
    async with staged(databases, tmp_path, **SLOW) as stage:
        first = await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            # Its end is after the last time that the process said how far its spans have arrived.
            run = await caller.start("flow")
            got = await worker.start_of(run)
            await stage.collector.wait_span(PREFIX + "send")
            await report(worker, got, COMPLETED, "{}")
            await stage.cluster.kill(first)
            assert not stage.collector.named(PREFIX + "run")
            await stage.cluster.start("engine")
            await stage.collector.wait_span(PREFIX + "run")
            await worker.die()
        await stage.stop_all()
        assert_whole_after_a_kill(stage)
        told = {span.span_id for span in stage.trace_of(run)}
        assert {run_span_id(run).hex(), attempt_span_id(run, 0).hex(), queue_span_id(run, 0).hex()} <= told


async def test_attempt_that_failed_just_before_the_kill_is_told_by_the_next_process(
    databases: Databases, tmp_path: Path
) -> None:
    async with staged(databases, tmp_path, **SLOW) as stage:
        first = await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow", retries=1)
            worker = await stage.worker("flow", client=caller)
            run = await caller.start("flow")
            got = await worker.start_of(run, 0)
            await stage.collector.wait_span(PREFIX + "send")  # hangs under the attempt, which has no end yet
            await report(worker, got, FAILED, "no")
            await stage.cluster.kill(first)
            await stage.cluster.start("engine")
            # The retry may have been sent before the process died: then it may be given another number.
            again = await worker.wait(lambda: [got for got in worker.got if got.start][1:], "another attempt")
            await patiently(lambda: report(worker, again[-1], COMPLETED, "{}"))
            await stage.cluster.until_settled()
            await worker.die()
        await stage.stop_all()
        assert_whole_after_a_kill(stage)
        attempts = {span.span_id for span in stage.trace_of(run) if span.name == PREFIX + "attempt"}
        assert {attempt_span_id(run, n).hex() for n in (0, again[-1].attempt)} <= attempts


async def test_run_that_was_replayed_just_before_the_kill_keeps_its_own_span(
    databases: Databases, tmp_path: Path
) -> None:
    async with staged(databases, tmp_path, **SLOW) as stage:
        first = await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            run = await caller.start("flow")
            got = await worker.start_of(run, 0)
            await stage.collector.wait_span(PREFIX + "send")
            await report(worker, got, COMPLETED, "{}")
            await caller.replay(run)
            await stage.cluster.kill(first)
            assert not stage.collector.named(PREFIX + "run")
            await stage.cluster.start("engine")
            # Whether the second attempt had been sent when the process died is the dice's.
            again = await worker.wait(lambda: [got for got in worker.got if got.start][1:], "another attempt")
            await patiently(lambda: report(worker, again[-1], COMPLETED, "{}"))
            await stage.cluster.until_settled()
            await worker.die()
        await stage.stop_all()
        assert_whole_after_a_kill(stage)
        told = {span.span_id for span in stage.trace_of(run)}
        assert {run_span_id(run).hex(), attempt_span_id(run, 0).hex(), queue_span_id(run, 0).hex()} <= told


async def test_run_that_was_queued_at_the_kill_is_one_trace(databases: Databases, tmp_path: Path) -> None:
    async with staged(databases, tmp_path) as stage:
        first = await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            run = await caller.start("flow")
            await stage.cluster.kill(first)
            await stage.cluster.start("engine")
            worker = await stage.worker("flow", client=caller)
            got = await worker.start_of(run)
            await report(worker, got, COMPLETED, "{}")
            await worker.die()
        await stage.stop_all()
        assert_whole_after_a_kill(stage)
        assert stage.trace_of(run)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_between_commit_and_send_leave_whole_traces(
    databases: Databases, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    async with staged(databases, tmp_path, SERVER_IN_DOUBT_WAIT="300ms") as stage:
        process = await stage.cluster.start("engine")
        runs = []
        async with stage.caller() as caller:
            await caller.put("flow", retries=2)
            worker = await stage.worker("flow", client=caller)

            async def work(got) -> None:
                if chance.random() < 0.3 and got.attempt < 2:
                    await patiently(lambda: report(worker, got, FAILED, "no"))
                else:
                    await patiently(lambda: report(worker, got, COMPLETED, "{}"))

            worker.auto = work
            for _ in range(3):
                for _ in range(chance.randrange(1, 8)):
                    runs.append(await patiently(lambda: caller.start("flow")))
                # The answer says that it is committed; whether it was sent is open.
                await stage.cluster.kill(process)
                process = await stage.cluster.start("engine")
            await stage.cluster.until_settled(60)
            await worker.die()
        await stage.stop_all()
        assert_whole_after_a_kill(stage)
        for run in runs:
            assert run_span_id(run).hex() in {span.span_id for span in stage.trace_of(run)}
