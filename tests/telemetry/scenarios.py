"""What can happen to a run, each played by a caller and a worker that do exactly what is written here.

A scenario returns the ids of its runs. They are played one after the other on one server, so that what shares
a commit does not depend on chance.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from broadaxe.grpc_api.wire import workflows_pb2 as wf
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.grpc_api.wire.v1.shared import condition_pb2 as cp
from broadaxe.telemetry.context import format_traceparent, parse_traceparent
from tests.faults.wire import COMPLETED, FAILED, STARTED, Got, until_state
from tests.telemetry.stage import Caller, Stage, item, report

ACKNOWLEDGED = 4
FAILED_STATE, CANCELLED_STATE = 3, 4
"""As `GetRunDetails` has them."""
CANARY = "canary-7f3a"
"""Is in every input, output, error and piece of metadata; never in telemetry."""

Scenario = Callable[[Stage, Caller], Awaitable[list[UUID]]]


def payload() -> str:
    """A JSON object with the canary."""
    return json.dumps({"secret": CANARY})


async def simple(stage: Stage, caller: Caller) -> list[UUID]:
    """Taken, acknowledged, started, completed, and its caller gets the result."""
    await caller.put("simple")
    worker = await stage.worker("simple", client=caller)
    run = await caller.start("simple", input=payload(), metadata=payload())
    waiting = asyncio.create_task(caller.results(run))
    got = await worker.start_of(run)
    await report(worker, got, ACKNOWLEDGED)
    started = asyncio.create_task(report(worker, got, STARTED))
    await report(worker, got, COMPLETED, payload())
    await started
    await waiting
    await worker.die()
    return [run]


async def retry(stage: Stage, caller: Caller) -> list[UUID]:
    """Fails, waits for its back-off, completes."""
    await caller.put("retry", retries=2, backoff_factor=1.0, backoff_max_seconds=1)
    worker = await stage.worker("retry", client=caller)
    run = await caller.start("retry", input=payload())
    await report(worker, await worker.start_of(run, 0), FAILED, f"ValueError: {CANARY}\n{CANARY}")
    await report(worker, await worker.start_of(run, 1), COMPLETED, payload())
    await worker.die()
    return [run]


async def non_retryable(stage: Stage, caller: Caller) -> list[UUID]:
    """Fails for good although a retry is left."""
    await caller.put("non-retryable", retries=2)
    worker = await stage.worker("non-retryable", client=caller)
    run = await caller.start("non-retryable", input=payload())
    got = await worker.start_of(run, 0)
    await report(worker, got, FAILED, CANARY, should_not_retry=True)
    await worker.die()
    return [run]


async def time_out(stage: Stage, caller: Caller) -> list[UUID]:
    """Runs for too long; the worker is told to stop."""
    await caller.put("time-out", timeout="1s")
    worker = await stage.worker("time-out", client=caller)
    run = await caller.start("time-out", input=payload())
    await worker.start_of(run)
    await worker.cancel_of(run)
    await until_state(caller, run, FAILED_STATE)
    await worker.die()
    return [run]


async def schedule_time_out(stage: Stage, caller: Caller) -> list[UUID]:
    """Finds no worker in time."""
    await caller.put("schedule-time-out", schedule_timeout="1s")
    run = await caller.start("schedule-time-out", input=payload())
    await until_state(caller, run, CANCELLED_STATE)
    return [run]


async def cancel_queued(stage: Stage, caller: Caller) -> list[UUID]:
    """Cancelled before a worker was there."""
    await caller.put("cancel-queued")
    run = await caller.start("cancel-queued", input=payload())
    assert await caller.cancel(run) == [run]
    return [run]


async def cancel_running(stage: Stage, caller: Caller) -> list[UUID]:
    """Cancelled while it runs."""
    await caller.put("cancel-running")
    worker = await stage.worker("cancel-running", client=caller)
    run = await caller.start("cancel-running", input=payload())
    await worker.start_of(run)
    assert await caller.cancel(run) == [run]
    await worker.cancel_of(run)
    await worker.die()
    return [run]


async def children(stage: Stage, caller: Caller) -> list[UUID]:
    """Spawns two children, asks for the first once more, gathers them."""
    await caller.put("parent")
    await caller.put("child")
    worker = await stage.worker("parent", "child", client=caller)
    run = await caller.start("parent", input=payload())
    got = await worker.start_of(run)
    given = json.loads(got.raw.additional_metadata)["traceparent"]
    async with stage.caller(given) as inside:
        born = []
        for key in ("a", "b", "a"):
            child = await inside.start(
                "child",
                parent_id=str(run),
                parent_task_run_external_id=str(run),
                child_key=key,
                input=payload(),
            )
            if child not in born:
                born.append(child)
                await report(worker, await worker.start_of(child), COMPLETED, payload())
    assert len(born) == 2
    await report(worker, got, COMPLETED, payload())
    await worker.die()
    return [run, *born]


async def bulk(stage: Stage, caller: Caller) -> list[UUID]:
    """A hundred runs in one call and one commit."""
    await caller.put("bulk")
    worker = await stage.worker("bulk", client=caller)
    runs = await caller.start_many([item("bulk", input=payload()) for _ in range(100)])
    got = [await worker.start_of(run) for run in runs]
    await asyncio.gather(*(report(worker, one, COMPLETED, payload()) for one in got))
    await worker.die()
    return runs


async def replay(stage: Stage, caller: Caller) -> list[UUID]:
    """Completed, and run again by a person."""
    await caller.put("replay")
    worker = await stage.worker("replay", client=caller)
    run = await caller.start("replay", input=payload())
    await report(worker, await worker.start_of(run, 0), COMPLETED, payload())
    await caller.replay(run)
    await report(worker, await worker.start_of(run, 1), COMPLETED, payload())
    await worker.die()
    return [run]


async def worker_death(stage: Stage, caller: Caller) -> list[UUID]:
    """Its worker falls silent; another one gets it."""
    await caller.put("death")
    first = await stage.worker("death", client=caller)
    run = await caller.start("death", input=payload())
    await first.start_of(run, 0)
    await first.fall_silent()
    second = await stage.worker("death", client=caller)
    await report(second, await second.start_of(run, 1, timeout=40), COMPLETED, payload())
    await first.die()
    await second.die()
    return [run]


async def stale(stage: Stage, caller: Caller) -> list[UUID]:
    """A result that comes after the end, twice."""
    await caller.put("stale")
    worker = await stage.worker("stale", client=caller)
    run = await caller.start("stale", input=payload())
    got = await worker.start_of(run)
    for _ in range(3):
        await report(worker, got, COMPLETED, payload())
    await worker.die()
    return [run]


async def many_traces(stage: Stage, caller: Caller) -> list[UUID]:
    """Runs of different callers that were asked for at the same moment."""
    await caller.put("crowd")
    worker = await stage.worker("crowd", client=caller)
    runs = await asyncio.gather(*(caller.start("crowd", input=payload()) for _ in range(20)))
    got = [await worker.start_of(run) for run in runs]
    await asyncio.gather(*(report(worker, one, COMPLETED, payload()) for one in got))
    await worker.die()
    return list(runs)


async def scheduled(stage: Stage, caller: Caller) -> list[UUID]:
    """Planned for a moment that is past: it starts at once, in a trace of its own."""
    await caller.put("scheduled")
    worker = await stage.worker("scheduled", client=caller)
    request = wf.ScheduleWorkflowRequest(name="scheduled", input=payload(), additional_metadata=payload())
    request.schedules.add(seconds=1)
    await caller.call("/WorkflowService/ScheduleWorkflow", request, wf.WorkflowVersion)
    got = await worker.wait(lambda: worker.got[0] if worker.got else None, "the planned run")
    await report(worker, got, COMPLETED, payload())
    await worker.die()
    return [got.task_id]


async def dag(stage: Stage, caller: Caller) -> list[UUID]:
    """Two steps behind one, one of them after a sleep, a third that is skipped; then they join."""

    def task(name: str, *parents: str, **conditions: Any) -> v1.CreateTaskOpts:
        return v1.CreateTaskOpts(
            readable_id=name,
            action=f"dag-{name}:step",
            timeout="30s",
            inputs="{}",
            parents=parents,
            conditions=cp.TaskConditions(**conditions) if conditions else None,
        )

    nap = cp.SleepMatchCondition(
        base=cp.BaseMatchCondition(readable_data_key="nap", action=cp.QUEUE, or_group_id="nap"),
        sleep_for="200ms",
    )
    test = cp.BaseMatchCondition(
        readable_data_key="t", action=cp.SKIP, or_group_id="t", expression="has(output.secret)"
    )
    skip = cp.ParentOverrideMatchCondition(base=test, parent_readable_id="first")
    tasks = [
        task("first"),
        task("second", "first"),
        task("naps", "first", sleep_conditions=[nap]),
        task("skipped", "first", parent_override_conditions=[skip]),
        task("joined", "second", "naps", "skipped"),
    ]
    request = v1.CreateWorkflowVersionRequest(name="dag", tasks=tasks, on_failure_task=task("failing"))
    await caller.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)
    names = [one.action.removesuffix(":step") for one in (*tasks, request.on_failure_task)]
    worker = await stage.worker(*names, client=caller)
    run = await caller.start("dag", input=payload(), metadata=payload())
    for name in ("first", "second", "naps", "joined"):

        def started(name: str = name) -> Got | None:
            return next((got for got in worker.got if got.raw.task_name == name), None)

        await report(worker, await worker.wait(started, f"START of {name}"), COMPLETED, payload())
    await caller.results(run)
    await worker.die()
    return [run]


def with_parent(traceparent: str, sampled: bool) -> str:
    """The same place with another flag."""
    place = parse_traceparent(traceparent)
    assert place is not None
    return format_traceparent(place._replace(sampled=sampled))


SCENARIOS: dict[str, Scenario] = {
    one.__name__: one
    for one in (
        simple,
        retry,
        non_retryable,
        time_out,
        schedule_time_out,
        cancel_queued,
        cancel_running,
        children,
        bulk,
        replay,
        worker_death,
        stale,
        many_traces,
        scheduled,
        dag,
    )
}
