"""The workflows that the Python SDK's tests run; declared for a client, so that a test may have several.

They say where they are through gates (see `gates.py`).
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from gates import pass_gate, pass_gate_sync
from hatchet_sdk import (
    Context,
    DurableContext,
    EmptyModel,
    Hatchet,
    NonRetryableException,
    RetryAfterException,
)
from hatchet_sdk.types.labels import DesiredWorkerLabel
from pydantic import BaseModel

FAILURE = "It broke: naïve café 💥 日本\nsecond line: with a colon"
RETRY_AFTER = 0.7
EXECUTION_TIMEOUT = 1.0


class Text(BaseModel):
    text: str = ""


class Failures(BaseModel):
    failures: int = 0


class Count(BaseModel):
    count: int = 0


class Gate(BaseModel):
    gate: str = ""


class Labels(BaseModel):
    labels: dict[str, str | int] = {}


@dataclass
class Point:
    x: int
    y: float
    label: str | None = None


class Big(BaseModel):
    filler: str = ""
    answer: int = 0


def declare_basic(hatchet: Hatchet) -> SimpleNamespace:
    """Inputs, outputs, attempts."""

    @hatchet.task(name="echo")
    async def echo(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {
            "input": ctx.workflow_input,
            "metadata": dict(ctx.additional_metadata),
            "attempt": ctx.attempt_number,
            "priority": ctx.priority,
            "run": ctx.workflow_run_id,
            "task": ctx.task_run_id,
            "worker": ctx.worker_id,
            "index": ctx.child_index,
            "key": ctx.child_key,
            "parent": ctx.parent_workflow_run_id,
            "lifespan": ctx.lifespan,
        }

    @hatchet.task(name="echo_sync", input_validator=Text)
    def echo_sync(input: Text, ctx: Context) -> Text:
        return Text(text=input.text.upper())

    @hatchet.task(name="mirror", input_validator=Point)
    async def mirror(input: Point, ctx: Context) -> Point:
        return Point(x=-input.x, y=-input.y, label=input.label)

    @hatchet.task(name="nothing")
    async def nothing(input: EmptyModel, ctx: Context) -> None:
        return None

    @hatchet.task(name="big", input_validator=Big)
    async def big(input: Big, ctx: Context) -> dict[str, Any]:
        return {"got": len(input.filler), "filler": "ä" * (input.answer // 2)}

    @hatchet.task(name="counted", input_validator=Count)
    async def counted(input: Count, ctx: Context) -> dict[str, int]:
        return {"count": input.count}

    @hatchet.task(name="MixedCase-Task.v1")
    async def mixed_case(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return {"action": ctx.action.action_id}

    @hatchet.task(name="streams", input_validator=Gate)
    async def streams(input: Gate, ctx: Context) -> dict[str, int]:
        await pass_gate(input.gate, ctx)
        for number in range(50):
            await ctx.aio_put_stream(f"{number}·")
        return {"chunks": 50}

    @hatchet.task(name="logs")
    async def logs(input: EmptyModel, ctx: Context) -> dict[str, str]:
        ctx.log("a line: ünïcode")
        ctx.log({"an": "object"})
        logging.getLogger("user").info("captured")
        for level in ("DEBUG", "INFO", "WARN", "ERROR"):
            await asyncio.to_thread(
                ctx._event_client.log, message=f"direct {level}", step_run_id=ctx.task_run_id, level=level
            )
        return {"task": ctx.task_run_id}

    return SimpleNamespace(**locals())


def declare_failing(hatchet: Hatchet) -> SimpleNamespace:
    """Failures, retries, time-outs, cancellation."""

    @hatchet.task(name="flaky", retries=3, input_validator=Failures)
    async def flaky(input: Failures, ctx: Context) -> dict[str, int]:
        if ctx.retry_count < input.failures:
            raise RuntimeError(f"attempt {ctx.attempt_number} fails")
        return {"attempt": ctx.attempt_number, "max_attempts": ctx.max_attempts}

    @hatchet.task(name="flaky_sync", retries=3, input_validator=Failures)
    def flaky_sync(input: Failures, ctx: Context) -> dict[str, int]:
        if ctx.retry_count < input.failures:
            raise RuntimeError(f"attempt {ctx.attempt_number} fails")
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="never_retry", retries=3)
    async def never_retry(input: EmptyModel, ctx: Context) -> None:
        raise NonRetryableException("not again")

    @hatchet.task(name="always_fails", retries=1)
    async def always_fails(input: EmptyModel, ctx: Context) -> None:
        raise ValueError(FAILURE)

    @hatchet.task(name="fails_with_nul")
    async def fails_with_nul(input: EmptyModel, ctx: Context) -> None:
        raise ValueError("before\x00after")

    @hatchet.task(name="returns_nul")
    async def returns_nul(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return {"text": "before\x00after"}

    @hatchet.task(name="returns_text")
    async def returns_text(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return "not an object"  # type: ignore[return-value]

    @hatchet.task(name="backs_off", retries=2, backoff_factor=1.2, backoff_max_seconds=2)
    async def backs_off(input: EmptyModel, ctx: Context) -> dict[str, int]:
        await pass_gate("seen:backs_off", ctx)
        if ctx.retry_count < 2:
            raise RuntimeError("later")
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="asks_later", retries=1)
    async def asks_later(input: EmptyModel, ctx: Context) -> dict[str, int]:
        await pass_gate("seen:asks_later", ctx)
        if ctx.retry_count == 0:
            raise RetryAfterException("not now", after=timedelta(seconds=RETRY_AFTER))
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="times_out", execution_timeout=timedelta(seconds=EXECUTION_TIMEOUT), retries=1)
    async def times_out(input: EmptyModel, ctx: Context) -> dict[str, int]:
        if ctx.retry_count == 0:
            try:
                await pass_gate("never", ctx)
            except asyncio.CancelledError:
                await asyncio.shield(pass_gate("seen:timed_out", ctx, cancelled=ctx.is_cancelled))
                raise
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="refreshes", execution_timeout=timedelta(seconds=EXECUTION_TIMEOUT))
    async def refreshes(input: EmptyModel, ctx: Context) -> dict[str, str]:
        await ctx.aio_refresh_timeout(timedelta(seconds=20))
        await pass_gate("refreshed", ctx)
        return {"state": "alive"}

    @hatchet.task(name="unscheduled", schedule_timeout=timedelta(seconds=1), input_validator=Gate)
    async def unscheduled(input: Gate, ctx: Context) -> None:
        raise AssertionError("no worker registers this task")

    @hatchet.task(name="waits", input_validator=Gate, retries=2)
    async def waits(input: Gate, ctx: Context) -> dict[str, Any]:
        try:
            answer = await pass_gate(input.gate, ctx)
        except asyncio.CancelledError:
            await asyncio.shield(pass_gate("seen:cancelled", ctx, cancelled=ctx.is_cancelled))
            raise
        return {"answer": answer, "attempt": ctx.attempt_number, "worker": ctx.worker_id}

    @hatchet.task(name="waits_sync", input_validator=Gate, retries=2)
    def waits_sync(input: Gate, ctx: Context) -> dict[str, Any]:
        answer = pass_gate_sync(input.gate, ctx)
        return {"answer": answer, "attempt": ctx.attempt_number, "cancelled": ctx.is_cancelled}

    @hatchet.task(name="cancels_itself", input_validator=Gate)
    async def cancels_itself(input: Gate, ctx: Context) -> dict[str, str]:
        await ctx.aio_cancel()
        await pass_gate(input.gate, ctx)
        return {"too": "late"}

    return SimpleNamespace(**locals())


def declare_family(hatchet: Hatchet, basic: SimpleNamespace) -> SimpleNamespace:
    """Parents and children."""
    counted, echo = basic.counted, basic.echo

    @hatchet.task(name="gathers", input_validator=Count, execution_timeout=timedelta(seconds=60))
    async def gathers(input: Count, ctx: Context) -> dict[str, Any]:
        results = await counted.aio_run_many(
            [counted.create_bulk_run_item(Count(count=at)) for at in range(input.count)]
        )
        return {"counts": [result["count"] for result in results]}

    @hatchet.task(name="gathers_sync", input_validator=Count)
    def gathers_sync(input: Count, ctx: Context) -> dict[str, Any]:
        results = counted.run_many(
            [counted.create_bulk_run_item(Count(count=at)) for at in range(input.count)]
        )
        return {"counts": [result["count"] for result in results]}

    @hatchet.task(name="one_by_one", input_validator=Count)
    async def one_by_one(input: Count, ctx: Context) -> dict[str, Any]:
        refs = [
            await counted.aio_run(Count(count=at), wait_for_result=False, additional_metadata={"at": str(at)})
            for at in range(input.count)
        ]
        return {"ids": [ref.workflow_run_id for ref in refs], "task": ctx.task_run_id}

    @hatchet.task(name="spawns_echo")
    async def spawns_echo(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        first = await echo.aio_run(additional_metadata={"own": "child", "shared": "child"})
        second = await echo.aio_run()
        return {"children": [first, second], "run": ctx.workflow_run_id}

    @hatchet.task(name="same_key")
    async def same_key(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        refs = [
            await counted.aio_run(Count(count=at), wait_for_result=False, child_key="the key")
            for at in range(3)
        ]
        other = await counted.aio_run(Count(count=9), wait_for_result=False, child_key="another")
        results = [await ref.aio_result() for ref in refs]
        return {
            "ids": [ref.workflow_run_id for ref in refs],
            "counts": [result["count"] for result in results],
            "other": other.workflow_run_id,
        }

    @hatchet.task(name="spawns_again", retries=1)
    async def spawns_again(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        ref = await counted.aio_run(Count(count=ctx.attempt_number), wait_for_result=False)
        await pass_gate("seen:spawned", ctx, child=ref.workflow_run_id)
        if ctx.retry_count == 0:
            raise RuntimeError("after the child was spawned")
        return {"child": ref.workflow_run_id, "result": await ref.aio_result()}

    @hatchet.task(name="passes_failure_on")
    async def passes_failure_on(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        results = await failing.never_retry.aio_run_many(
            [failing.never_retry.create_bulk_run_item()], return_exceptions=True
        )
        return {"error": str(results[0]), "type": type(results[0]).__name__}

    failing = SimpleNamespace(never_retry=basic.never_retry)
    return SimpleNamespace(**locals())


def declare_narrow(hatchet: Hatchet) -> SimpleNamespace:
    """For a worker with two slots and labels."""

    @hatchet.task(name="costly", slot_cost=2, input_validator=Gate)
    async def costly(input: Gate, ctx: Context) -> dict[str, Any]:
        await pass_gate(input.gate, ctx, priority=ctx.priority)
        return {"priority": ctx.priority}

    @hatchet.task(name="cheap", input_validator=Gate)
    async def cheap(input: Gate, ctx: Context) -> dict[str, Any]:
        await pass_gate(input.gate, ctx)
        return {"gate": input.gate}

    @hatchet.task(name="releases", slot_cost=2, input_validator=Gate)
    async def releases(input: Gate, ctx: Context) -> dict[str, Any]:
        await ctx.aio_release_slot()
        await pass_gate(input.gate, ctx)
        return {"released": True}

    @hatchet.task(
        name="chooses", desired_worker_labels=[DesiredWorkerLabel(key="model", value="fancy", required=True)]
    )
    async def chooses(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"labels": ctx.worker_labels, "worker": ctx.worker_id}

    @hatchet.task(name="relabels", input_validator=Labels)
    async def relabels(input: Labels, ctx: Context) -> dict[str, Any]:
        await ctx.aio_upsert_worker_labels(input.labels)
        return {"labels": ctx.worker_labels}

    return SimpleNamespace(**locals())


def declare_durable(hatchet: Hatchet) -> SimpleNamespace:
    """Not there yet: a worker that carries one must work for the rest."""

    @hatchet.durable_task(name="sleeps_long")
    async def sleeps_long(input: EmptyModel, ctx: DurableContext) -> dict[str, str]:
        await ctx.aio_sleep_for(timedelta(seconds=1))
        return {"woke": "up"}

    return SimpleNamespace(**locals())


GROUPS = ("basic", "failing", "family", "narrow", "durable")


def declare(hatchet: Hatchet) -> dict[str, SimpleNamespace]:
    """Every group of workflows."""
    basic, failing = declare_basic(hatchet), declare_failing(hatchet)
    basic.never_retry = failing.never_retry
    return {
        "basic": basic,
        "failing": failing,
        "family": declare_family(hatchet, basic),
        "narrow": declare_narrow(hatchet),
        "durable": declare_durable(hatchet),
    }
