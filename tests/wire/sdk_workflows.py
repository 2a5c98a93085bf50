"""The workflows that the Python SDK's tests run; declared for a client, so that a test may have several.

They say where they are through gates (see `gates.py`).
"""

import asyncio
import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from gates import pass_gate
from hatchet_sdk import Context, DurableContext, EmptyModel, Hatchet
from hatchet_sdk.types.idempotency import StatusBasedIdempotencyConfig, TTLBasedIdempotencyConfig
from hatchet_sdk.types.labels import DesiredWorkerLabel
from hatchet_sdk.utils.typing import LogLevel
from sdk_dags import declare_dags
from sdk_failing import declare_errors, declare_retries, declare_timeouts, declare_waits
from sdk_models import Big, Count, Gate, Labels, Point, Text, declared


def declare_payloads(hatchet: Hatchet) -> SimpleNamespace:
    """Inputs and outputs."""

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

    return declared(locals())


def declare_events(hatchet: Hatchet) -> SimpleNamespace:
    """What events start, and what holds idempotency keys."""
    minute = timedelta(minutes=1)
    for_a_minute = TTLBasedIdempotencyConfig(key_expression="input.text", ttl=minute)
    while_it_runs = StatusBasedIdempotencyConfig(key_expression="input.text", fallback_ttl=minute)

    @hatchet.task(name="on_event", on_events=["wire:*:made"])
    async def on_event(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {
            "input": ctx.workflow_input,
            "metadata": dict(ctx.additional_metadata),
            "filter_payload": ctx.filter_payload,
            "priority": ctx.priority,
        }

    @hatchet.task(name="on_filtered", on_events=["wire-filtered"])
    async def on_filtered(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"filter_payload": ctx.filter_payload}

    @hatchet.task(name="once", input_validator=Text, idempotency=for_a_minute, on_events=["wire-once"])
    async def once(input: Text, ctx: Context) -> dict[str, str]:
        return {"text": input.text}

    @hatchet.task(name="once_at_a_time", input_validator=Text, idempotency=while_it_runs, retries=1)
    async def once_at_a_time(input: Text, ctx: Context) -> dict[str, int]:
        if ctx.attempt_number == 1:
            raise RuntimeError("once more")
        return {"attempt": ctx.attempt_number}

    return declared(locals(), without=(for_a_minute, while_it_runs))


def declare_chatty(hatchet: Hatchet) -> SimpleNamespace:
    """Tasks that send more than a result."""

    @hatchet.task(name="streams", input_validator=Gate)
    async def streams(input: Gate, ctx: Context) -> dict[str, int]:
        # Dots until the reader says that it sees them: then it gets everything that follows.
        seen = asyncio.create_task(pass_gate(input.gate, ctx))
        while not seen.done():
            await ctx.aio_put_stream(".")
            await asyncio.wait({seen}, timeout=0.05)
        for number in range(50):
            await ctx.aio_put_stream(f"{number}·")
        return {"chunks": 50}

    @hatchet.task(name="logs")
    async def logs(input: EmptyModel, ctx: Context) -> dict[str, str]:
        ctx.log("a line: ünïcode")
        ctx.log({"an": "object"})
        logging.getLogger("user").info("captured")
        for level in LogLevel:
            send = ctx._event_client.log
            await asyncio.to_thread(send, f"direct {level.value}", ctx.task_run_id, level, ctx.retry_count)
        return {"task": ctx.task_run_id}

    return declared(locals())


def declare_family(hatchet: Hatchet, children: SimpleNamespace) -> SimpleNamespace:
    """Parents and children."""
    counted, echo = children.counted, children.echo

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

    return declared(locals(), without=(counted, echo))


def declare_dedupe(hatchet: Hatchet, children: SimpleNamespace) -> SimpleNamespace:
    """Parents that ask for the same child again, or for one that fails."""
    counted, never_retry = children.counted, children.never_retry

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
        results = await never_retry.aio_run_many([never_retry.create_bulk_run_item()], return_exceptions=True)
        return {"error": str(results[0]), "type": type(results[0]).__name__}

    return declared(locals(), without=(counted, never_retry))


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

    return declared(locals())


def declare_unserved(hatchet: Hatchet) -> SimpleNamespace:
    """Registered by a test, served by no worker."""

    @hatchet.task(name="unserved", schedule_timeout=timedelta(seconds=1))
    async def unserved(input: EmptyModel, ctx: Context) -> None:
        raise AssertionError("no worker serves this")

    @hatchet.task(name="nobodys")
    async def nobodys(input: EmptyModel, ctx: Context) -> None:
        raise AssertionError("no worker serves this")

    return declared(locals())


def declare_durable(hatchet: Hatchet) -> SimpleNamespace:
    """Not there yet: a worker that carries one must work for the rest."""

    @hatchet.durable_task(name="sleeps_long")
    async def sleeps_long(input: EmptyModel, ctx: DurableContext) -> dict[str, str]:
        await ctx.aio_sleep_for(timedelta(seconds=1))
        return {"woke": "up"}

    return declared(locals())


def declare(hatchet: Hatchet) -> dict[str, SimpleNamespace]:
    """Every group of workflows."""
    groups = {
        "payloads": declare_payloads(hatchet),
        "chatty": declare_chatty(hatchet),
        "retries": declare_retries(hatchet),
        "errors": declare_errors(hatchet),
        "timeouts": declare_timeouts(hatchet),
        "waits": declare_waits(hatchet),
        "narrow": declare_narrow(hatchet),
        "durable": declare_durable(hatchet),
        "events": declare_events(hatchet),
        "unserved": declare_unserved(hatchet),
        "dags": declare_dags(hatchet),
    }
    children = SimpleNamespace(**vars(groups["payloads"]), **vars(groups["retries"]))
    groups["family"] = declare_family(hatchet, children)
    groups["dedupe"] = declare_dedupe(hatchet, children)
    return groups


def flat(hatchet: Hatchet) -> SimpleNamespace:
    """All of them by name."""
    groups = declare(hatchet).values()
    return SimpleNamespace(**{name: flow for group in groups for name, flow in vars(group).items()})


EVERYDAY = (
    "payloads",
    "chatty",
    "retries",
    "errors",
    "timeouts",
    "waits",
    "family",
    "dedupe",
    "durable",
    "dags",
    "events",
)
"""What a worker without special slots or labels serves."""
