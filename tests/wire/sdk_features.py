"""Every field that the newest Python SDK can register, and what triggering each workflow answers today."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hatchet_sdk import Context, DurableContext, EmptyModel, Hatchet
from hatchet_sdk.conditions import ParentCondition, SleepCondition, UserEventCondition, or_
from hatchet_sdk.rate_limit import RateLimit, RateLimitDuration
from hatchet_sdk.runnables.types import DefaultFilter, TaskDefaults
from hatchet_sdk.types.concurrency import ConcurrencyExpression, ConcurrencyLimitStrategy
from hatchet_sdk.types.idempotency import StatusBasedIdempotencyConfig, TTLBasedIdempotencyConfig
from hatchet_sdk.types.labels import DesiredWorkerLabel, WorkerLabelComparator
from hatchet_sdk.types.priority import Priority
from hatchet_sdk.types.sticky import StickyStrategy
from pydantic import BaseModel

STRATEGIES = (
    ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
    ConcurrencyLimitStrategy.CANCEL_IN_PROGRESS,
    ConcurrencyLimitStrategy.CANCEL_NEWEST,
    ConcurrencyLimitStrategy.CANCEL_QUEUED_EXCEPT_NEWEST,
    ConcurrencyLimitStrategy.CANCEL_QUEUED_EXCEPT_OLDEST,
)


class Order(BaseModel):
    user: str = "u"
    tier: str = "free"


async def work(input: EmptyModel, ctx: Context) -> dict[str, Any]:
    """Any task's body."""
    return {}


async def durable_work(input: EmptyModel, ctx: DurableContext) -> dict[str, Any]:
    """Any durable task's body."""
    return {}


async def batch_work(input: dict[Any, EmptyModel], ctx: Context) -> dict[str, Any]:
    """Any broadcasting batch task's body."""
    return {}


def runnable(hatchet: Hatchet) -> list[Any]:
    """Workflows with features that need nothing more when they are triggered by name."""
    ttl = TTLBasedIdempotencyConfig(key_expression="'ttl'", ttl=timedelta(minutes=5))
    status = StatusBasedIdempotencyConfig(key_expression="'status'", fallback_ttl=timedelta(days=1))
    return [
        hatchet.task(name="f-events", on_events=["order:*", "user:created"], version="2.1", description="d")(
            work
        ),
        hatchet.task(
            name="f-filters",
            on_events=["order:paid"],
            default_filters=[
                DefaultFilter(expression="input.amount > 5", scope="eu", payload={"zone": 1}),
                DefaultFilter(expression="true", scope="us"),
            ],
        )(work),
        hatchet.task(
            name="f-crons",
            on_crons=["0 3 * * *", "*/30 * * * * *", "@hourly", "TZ=Europe/Berlin 5 4 * * MON"],
            input_validator=Order,
            cron_input=Order(user="cron"),
        )(work),
        hatchet.task(
            name="f-times",
            schedule_timeout=timedelta(hours=2, seconds=1),
            execution_timeout=timedelta(milliseconds=1500),
            retries=7,
            backoff_factor=2.5,
            backoff_max_seconds=90,
            default_priority=Priority.HIGH,
            default_additional_metadata={"team": "core"},
        )(work),
        hatchet.task(name="f-backoff", retries=1, backoff_factor=1.5)(work),
        hatchet.task(
            name="f-labels",
            slot_cost=3,
            desired_worker_labels=[
                DesiredWorkerLabel(key="model", value="big", required=True),
                DesiredWorkerLabel(
                    key="memory", value=64, weight=10, comparator=WorkerLabelComparator.GREATER_THAN_OR_EQUAL
                ),
            ],
        )(work),
        hatchet.task(name="f-schema", input_validator=Order)(work),
        hatchet.task(name="f-idempotent-ttl", idempotency=ttl)(work),
        hatchet.task(name="f-idempotent-status", idempotency=status)(work),
    ]


def concurrency(hatchet: Hatchet) -> list[Any]:
    """Concurrency of all kinds."""
    flows = []
    for strategy in STRATEGIES:
        rule = ConcurrencyExpression(expression="input.user", max_runs=2, limit_strategy=strategy)
        name = f"f-concurrency-{strategy.value.lower().replace('_', '-')}"
        flows.append(hatchet.task(name=name, concurrency=rule)(work))
    several = [
        ConcurrencyExpression(
            expression="input.user", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
        ),
        ConcurrencyExpression(
            expression="additional_metadata.region",
            max_runs="input.tier == 'premium' ? 10 : 1",
            limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST,
        ),
        ConcurrencyExpression(
            expression="'all'",
            max_runs=5,
            limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
            name="everyone",
            is_tenant_scoped=True,
        ),
    ]
    flows.append(hatchet.task(name="f-concurrency-several", concurrency=several)(work))
    flows.append(hatchet.task(name="f-concurrency-number", concurrency=3)(work))
    workflow = hatchet.workflow(name="f-concurrency-workflow", concurrency=several[0])
    workflow.task(name="only", concurrency=several[1:])(work)
    return [*flows, workflow]


def limits(hatchet: Hatchet) -> list[Any]:
    """Rate limits, batches, durable tasks."""
    static = RateLimit(static_key="api", units=2)
    dynamic = RateLimit(
        dynamic_key="input.user",
        units="input.tier == 'free' ? 2 : 1",
        limit="10",
        duration=RateLimitDuration.HOUR,
    )
    batch = {
        "batch_max_size": 10,
        "batch_max_interval": timedelta(milliseconds=250),
        "batch_group_key": "input.user",
        "batch_group_max_runs": 3,
        "broadcast_output": True,
    }
    return [
        hatchet.task(name="f-rate-static", rate_limits=[static])(work),
        hatchet.task(name="f-rate-dynamic", rate_limits=[dynamic, static])(work),
        hatchet.batch_task(name="f-batch", **batch)(batch_work),
        hatchet.batch_task(name="f-batch-small", batch_max_size=1, broadcast_output=True)(batch_work),
        hatchet.durable_task(name="f-durable")(durable_work),
    ]


def mixed(hatchet: Hatchet) -> list[Any]:
    """Several tasks, one of them durable."""
    dag = hatchet.workflow(
        name="f-dag",
        input_validator=Order,
        task_defaults=TaskDefaults(retries=2, execution_timeout=timedelta(seconds=5), backoff_factor=2.0),
        default_priority=Priority.MEDIUM,
        sticky=StickyStrategy.SOFT,
    )
    first = dag.task(name="first")(work)
    second = dag.task(name="second", parents=[first])(work)
    third = dag.durable_task(name="third", parents=[first])(durable_work)
    dag.task(name="last", parents=[second, third])(work)
    return [dag]


def graphs(hatchet: Hatchet) -> list[Any]:
    """Several tasks: parents, conditions, on-failure and on-success; sticky ones."""
    conditional = hatchet.workflow(name="f-conditions")
    root = conditional.task(
        name="root",
        wait_for=[
            SleepCondition(timedelta(seconds=10)),
            UserEventCondition(event_key="go", expression="input.ok", scope="s"),
        ],
    )(work)
    conditional.task(
        name="left",
        parents=[root],
        wait_for=[or_(SleepCondition(timedelta(seconds=3)), UserEventCondition(event_key="left:now"))],
        skip_if=[ParentCondition(parent=root, expression="output.number > 50")],
    )(work)
    conditional.task(
        name="right",
        parents=[root],
        cancel_if=[UserEventCondition(event_key="stop")],
        skip_if=[ParentCondition(parent=root, expression="output.number <= 50")],
    )(work)

    failing = hatchet.workflow(name="f-on-failure")
    failing.task(name="main")(work)
    failing.on_failure_task(name="clean-up", retries=1)(work)

    succeeding = hatchet.workflow(name="f-on-success")
    succeeding.task(name="main")(work)
    succeeding.on_success_task(name="celebrate")(work)

    waiting = hatchet.workflow(name="f-one-task-waits")
    waiting.task(name="only", wait_for=[SleepCondition(timedelta(seconds=1))])(work)
    sticky = [
        hatchet.task(name="f-sticky-soft", sticky=StickyStrategy.SOFT)(work),
        hatchet.task(name="f-sticky-hard", sticky=StickyStrategy.HARD)(work),
    ]
    return [conditional, failing, succeeding, waiting, *sticky]


UNSUPPORTED: tuple[Callable[[Hatchet], list[Any]], ...] = (concurrency, limits, mixed)
"""What registers, and answers UNIMPLEMENTED when triggered."""
