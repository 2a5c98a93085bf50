"""Workflows of several tasks for the Python SDK's tests."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hatchet_sdk import Context, EmptyModel, Hatchet
from hatchet_sdk.conditions import ParentCondition, SleepCondition, UserEventCondition, or_
from sdk_models import Count, Text


def declare_dags(hatchet: Hatchet) -> SimpleNamespace:
    """All of them."""
    return SimpleNamespace(
        **vars(_outputs(hatchet)),
        **vars(_conditions(hatchet)),
        **vars(_paid(hatchet)),
        **vars(_ends(hatchet)),
        **vars(_wide(hatchet)),
    )


def _outputs(hatchet: Hatchet) -> SimpleNamespace:
    dag = hatchet.workflow(name="dag", input_validator=Count)

    @dag.task()
    async def one(input: Count, ctx: Context) -> dict[str, Any]:
        return {"count": input.count + 1, "text": "naïve 日本 💥"}

    @dag.task()
    def two(input: Count, ctx: Context) -> dict[str, Any]:
        return {"count": input.count + 2}

    @dag.task(parents=[one, two])
    async def both(input: Count, ctx: Context) -> dict[str, Any]:
        return {"sum": ctx.task_output(one)["count"] + ctx.task_output(two)["count"]}

    @dag.task(parents=[one, both])
    async def last(input: Count, ctx: Context) -> dict[str, Any]:
        return {
            "one": ctx.task_output(one),
            "sum": ctx.task_output(both)["sum"],
            "run": ctx.workflow_run_id,
            "task": ctx.task_run_id,
            "metadata": dict(ctx.additional_metadata),
        }

    return SimpleNamespace(dag=dag)


def _conditions(hatchet: Hatchet) -> SimpleNamespace:
    branching = hatchet.workflow(name="branching", input_validator=Count)

    @branching.task()
    async def start(input: Count, ctx: Context) -> dict[str, int]:
        return {"n": input.count}

    @branching.task(parents=[start], skip_if=[ParentCondition(parent=start, expression="output.n > 50")])
    async def left(input: Count, ctx: Context) -> dict[str, str]:
        return {"side": "left"}

    @branching.task(parents=[start], skip_if=[ParentCondition(parent=start, expression="output.n <= 50")])
    async def right(input: Count, ctx: Context) -> dict[str, str]:
        return {"side": "right"}

    @branching.task(parents=[left, right])
    async def joined(input: Count, ctx: Context) -> dict[str, Any]:
        return {
            "skipped": ctx.was_skipped(left) and ctx.was_skipped(right),
            "left": ctx.was_skipped(left),
            "right": ctx.was_skipped(right),
        }

    refused = hatchet.workflow(name="refused")

    @refused.task()
    async def begin(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {"n": 2}

    @refused.task(parents=[begin], cancel_if=[ParentCondition(parent=begin, expression="output.n > 1")])
    async def cancelled(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {}

    @refused.task(parents=[cancelled])
    async def behind(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {}

    dozing = hatchet.workflow(name="dozing")

    @dozing.task(wait_for=[SleepCondition(timedelta(seconds=1), readable_data_key="nap")])
    async def nap(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"triggers": dict(ctx.trigger_data)}

    @dozing.task(
        parents=[nap],
        wait_for=[or_(SleepCondition(timedelta(seconds=1)), SleepCondition(timedelta(hours=1)))],
        skip_if=[SleepCondition(timedelta(hours=2))],
    )
    async def again(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"triggers": dict(ctx.trigger_data)}

    lone = hatchet.workflow(name="lone-sleeper")

    @lone.task(wait_for=[SleepCondition(timedelta(seconds=1))])
    async def only(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"triggers": dict(ctx.trigger_data)}

    forever = hatchet.workflow(name="forever")

    @forever.task(wait_for=[SleepCondition(timedelta(hours=5))])
    async def never(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {}

    return SimpleNamespace(branching=branching, refused=refused, dozing=dozing, lone=lone, forever=forever)


def _paid(hatchet: Hatchet) -> SimpleNamespace:
    paid = hatchet.workflow(name="paid", input_validator=Text)

    @paid.task()
    async def order(input: Text, ctx: Context) -> dict[str, str]:
        return {"order": input.text}

    @paid.task(
        parents=[order],
        wait_for=[
            or_(
                UserEventCondition(event_key="dag:paid", expression="input.amount > 5"),
                SleepCondition(timedelta(hours=1)),
            )
        ],
        cancel_if=[UserEventCondition(event_key="dag:refused")],
    )
    async def ship(input: Text, ctx: Context) -> dict[str, Any]:
        return {"triggers": dict(ctx.trigger_data)}

    early = hatchet.workflow(name="paid-before", input_validator=Text)
    since = datetime.now(UTC) - timedelta(minutes=5)
    before = UserEventCondition(
        event_key="dag:before",
        expression="input.amount > 5",
        scope="looked-back",
        consider_events_since=since,
    )

    @early.task(wait_for=[before])
    async def pack(input: Text, ctx: Context) -> dict[str, Any]:
        return {"triggers": dict(ctx.trigger_data)}

    return SimpleNamespace(paid=paid, early=early)


def _ends(hatchet: Hatchet) -> SimpleNamespace:
    failing = hatchet.workflow(name="failing", input_validator=Count)

    @failing.task(retries=1)
    async def breaks(input: Count, ctx: Context) -> dict[str, int]:
        if ctx.attempt_number <= input.count:
            raise ValueError("it broke")
        return {"attempt": ctx.attempt_number}

    @failing.task(parents=[breaks])
    async def after(input: Count, ctx: Context) -> dict[str, int]:
        return {"after": 1}

    @failing.on_failure_task()
    async def on_failure(input: Count, ctx: Context) -> dict[str, Any]:
        return {"errors": ctx.task_run_errors}

    succeeding = hatchet.workflow(name="succeeding")

    @succeeding.task()
    async def work(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {"done": 1}

    @succeeding.on_success_task()
    async def on_success(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"after": ctx.task_output(work)}

    return SimpleNamespace(failing=failing, succeeding=succeeding)


def _wide(hatchet: Hatchet) -> SimpleNamespace:
    wide = hatchet.workflow(name="wide")

    async def leaf(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {"at": int(ctx.action.action_id.rsplit("-", 1)[1])}

    leaves = [wide.task(name=f"leaf-{at}")(leaf) for at in range(50)]

    @wide.task(parents=leaves)
    async def total(input: EmptyModel, ctx: Context) -> dict[str, int]:
        return {"total": sum(ctx.task_output(one)["at"] for one in leaves)}

    return SimpleNamespace(wide=wide)
