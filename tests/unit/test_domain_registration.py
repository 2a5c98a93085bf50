"""Registration: defaults, problems by field, checksum, and what cannot run yet."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from broadaxe.domain.features import missing_feature
from broadaxe.domain.naming import step_id
from broadaxe.domain.registration import checksum, prepare
from broadaxe.domain.registration_checks import ExpressionKind, Limits
from broadaxe.domain.workflow import (
    BatchConfig,
    Concurrency,
    Condition,
    DefaultFilter,
    Idempotency,
    LabelRequest,
    RateLimitUse,
    StepDefinition,
    WorkflowDefinition,
)

NO_ID = UUID(int=0)


def step(name: str = "one", **fields: Any) -> StepDefinition:
    return replace(StepDefinition(NO_ID, name, f"wf:{name}"), **fields)


def workflow(*steps: StepDefinition, **fields: Any) -> WorkflowDefinition:
    return replace(WorkflowDefinition("wf", steps or (step(),)), **fields)


def condition(**fields: Any) -> Condition:
    return replace(Condition("sleep", "s", 1, str(uuid4()), "", sleep_for="5s"), **fields)


def test_prepare_right_definition_has_no_problems() -> None:
    full = workflow(
        step(
            "one",
            retries=3,
            backoff_factor=2.0,
            labels=(LabelRequest("gpu", "yes"),),
            rate_limits=(RateLimitUse("api", 1, window=1),),
            concurrency=(Concurrency("input.user", strategy=3),),
            conditions=(condition(),),
            batch=BatchConfig(10),
        ),
        step("two", parents=("one",), conditions=(condition(kind="parent", parent="one"),)),
        description="text",
        event_triggers=("order:*",),
        cron_triggers=("*/5 * * * *", "@daily"),
        cron_input='{"a":1}',
        on_failure=step("three"),
        sticky=1,
        default_priority=3,
        concurrency=(Concurrency("'x'", 2, 0),),
        default_filters=(DefaultFilter("true", "s", b"{}"),),
        input_schema=b'{"type":"object"}',
        idempotency=Idempotency("input.id", 1),
    )
    assert prepare(full).problems == ()


def test_prepare_fills_defaults_and_is_idempotent() -> None:
    sent = workflow(
        step("one", action="Wf:One", slots={}, batch=BatchConfig(5)),
        step("two", slots={}, durable=True, concurrency=(Concurrency("input.k"),)),
        step("three", slots={"default": 4}),
        on_failure=step("four", slots={}),
    )
    prepared = prepare(sent)
    one, two, three = prepared.definition.steps
    assert (one.id, one.action, one.slots) == (step_id("wf", "one"), "wf:one", {"default": 1})
    assert one.batch == BatchConfig(5, 1000, "'default'", 100)
    assert two.slots == {"durable": 1}
    assert two.concurrency == (Concurrency("input.k", 1, 0),)
    assert three.slots == {"default": 4}
    assert prepared.definition.on_failure is not None
    assert prepared.definition.on_failure.slots == {"default": 1}
    assert prepare(prepared.definition) == prepared


def test_prepare_single_task_takes_over_the_workflows_concurrency() -> None:
    outer, inner = Concurrency("input.a", 2, 3), Concurrency("input.b", 1, 3)
    alone = workflow(step(concurrency=(inner,)), concurrency=(outer,))
    definition = prepare(alone).definition
    assert (definition.concurrency, definition.steps[0].concurrency) == ((), (outer, inner))
    with_failure = replace(alone, on_failure=step("two"))
    assert prepare(with_failure).definition.concurrency == (outer,)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (workflow(name=""), "name"),
        (workflow(name="a b"), "name"),
        (workflow(name="x" * 256), "name"),
        (WorkflowDefinition("wf", ()), "tasks"),
        (workflow(description="a\x00"), "description"),
        (workflow(event_triggers=("ok", "")), "event_triggers[1]"),
        (workflow(cron_triggers=("@daily", "nope")), "cron_triggers[1]"),
        (workflow(cron_input="[1]"), "cron_input"),
        (workflow(sticky=2), "sticky"),
        (workflow(default_priority=0), "default_priority"),
        (workflow(default_priority=4), "default_priority"),
        (workflow(input_schema=b"{"), "input_json_schema"),
        (workflow(default_filters=(DefaultFilter("", "s"),)), "default_filters[0].expression"),
        (workflow(default_filters=(DefaultFilter("true", ""),)), "default_filters[0].scope"),
        (workflow(default_filters=(DefaultFilter("true", "s", b"1"),)), "default_filters[0].payload"),
        (workflow(idempotency=Idempotency(" ", 1)), "idempotency.expression"),
        (workflow(idempotency=Idempotency("a", 0)), "idempotency.ttl_ms"),
        (workflow(idempotency=Idempotency("a", 1, 2)), "idempotency.method"),
        (workflow(step(name="a/b")), "tasks[0].readable_id"),
        (workflow(step(action="nope")), "tasks[0].action"),
        (workflow(step(timeout=0.0)), "tasks[0].timeout"),
        (workflow(step(timeout=float("nan"))), "tasks[0].timeout"),
        (workflow(step(schedule_timeout=-1.0)), "tasks[0].schedule_timeout"),
        (workflow(step(retries=-1)), "tasks[0].retries"),
        (workflow(step(backoff_factor=0.5)), "tasks[0].backoff_factor"),
        (workflow(step(backoff_factor=1001.0)), "tasks[0].backoff_factor"),
        (workflow(step(backoff_factor=float("nan"))), "tasks[0].backoff_factor"),
        (workflow(step(backoff_factor=2.0, backoff_max=0.0)), "tasks[0].backoff_max_seconds"),
        (workflow(step(backoff_factor=2.0, backoff_max=86_401.0)), "tasks[0].backoff_max_seconds"),
        (workflow(step(slots={"default": 0})), "tasks[0].slot_requests"),
        (workflow(step(slots={"": 1})), "tasks[0].slot_requests"),
        (workflow(step(labels=(LabelRequest("k"),))), "tasks[0].worker_labels"),
        (workflow(step(rate_limits=(RateLimitUse(),))), "tasks[0].rate_limits[0].key"),
        (workflow(step(rate_limits=(RateLimitUse("k", -1),))), "tasks[0].rate_limits[0].units"),
        (workflow(step(rate_limits=(RateLimitUse("k", window=7),))), "tasks[0].rate_limits[0].duration"),
        (
            workflow(step(rate_limits=(RateLimitUse("k", key_expression=""),))),
            "tasks[0].rate_limits[0].key_expr",
        ),
        (workflow(step(conditions=(condition(kind="moon"),))), "tasks[0].conditions[0]"),
        (workflow(step(conditions=(condition(action=4),))), "tasks[0].conditions[0].action"),
        (workflow(step(conditions=(condition(sleep_for="1d"),))), "tasks[0].conditions[0].sleep_for"),
        (workflow(step(conditions=(condition(kind="event"),))), "tasks[0].conditions[0].user_event_key"),
        (workflow(step(conditions=(condition(kind="parent", parent="x"),))), "tasks[0].conditions"),
        (workflow(step(batch=BatchConfig(0))), "tasks[0].batch.batch_max_size"),
        (workflow(step(batch=BatchConfig(100_001))), "tasks[0].batch.batch_max_size"),
        (workflow(step(batch=BatchConfig(1, 86_400_001))), "tasks[0].batch.batch_max_interval_ms"),
        (workflow(step(batch=BatchConfig(1, group_max_runs=0))), "tasks[0].batch.batch_group_max_runs"),
        (workflow(step(batch=BatchConfig(1, group_key=""))), "tasks[0].batch.batch_group_key"),
        (workflow(step(inputs="{")), "tasks[0].inputs"),
        (workflow(step(), step("two"), concurrency=(Concurrency(""),)), "concurrency[0].expression"),
        (workflow(step(concurrency=(Concurrency("a", 0),))), "tasks[0].concurrency[0].max_runs"),
        (
            workflow(step(concurrency=(Concurrency("a", strategy=1),))),
            "tasks[0].concurrency[0].limit_strategy",
        ),
        (
            workflow(step(concurrency=(Concurrency("a", strategy=2),))),
            "tasks[0].concurrency[0].limit_strategy",
        ),
        (
            workflow(step(concurrency=(Concurrency("a", strategy=9),))),
            "tasks[0].concurrency[0].limit_strategy",
        ),
        (workflow(step(concurrency=(Concurrency("a", tenant_scoped=True),))), "tasks[0].concurrency[0].name"),
        (workflow(step(), step()), "tasks[1].readable_id"),
        (workflow(step(), on_failure=step()), "on_failure_task.readable_id"),
        (workflow(step(), on_failure=step("two", parents=("one",))), "on_failure_task.parents"),
        (workflow(step(parents=("nobody",))), "tasks[0].parents"),
        (workflow(step(), step("two", parents=("one", "one"))), "tasks[1].parents"),
    ],
)
def test_prepare_one_mistake_gives_one_problem_naming_the_field(sent: WorkflowDefinition, field: str) -> None:
    problems = prepare(sent).problems
    assert [problem.split(": ")[0] for problem in problems] == [field], problems


def test_prepare_cycle_is_named() -> None:
    sent = workflow(
        step("a", parents=("c",)), step("b", parents=("a",)), step("c", parents=("b",)), step("d")
    )
    (problem,) = prepare(sent).problems
    assert problem == "tasks: the parents form a cycle: a -> b -> c -> a"
    assert prepare(workflow(step("a", parents=("a",)))).problems == (
        "tasks: the parents form a cycle: a -> a",
    )


def test_prepare_long_chain_needs_no_recursion() -> None:
    steps = [step(f"s{n}", parents=(f"s{n + 1}",)) for n in range(4_999)] + [step("s4999")]
    assert prepare(workflow(*steps), Limits(steps=5_000)).problems == ()


def test_prepare_limits_are_parameters() -> None:
    limits = Limits(steps=1, name_length=3, triggers=1, entries=1, document_bytes=2)
    sent = workflow(
        step("long"), step("two"), event_triggers=("a", "b"), input_schema=b'{"a":1}', name="name"
    )
    fields = [problem.split(": ")[0] for problem in prepare(sent, limits).problems]
    assert fields == ["name", "event_triggers", "tasks", "input_json_schema"]


def test_prepare_hands_each_expression_to_the_compiler() -> None:
    asked: list[tuple[str, str]] = []

    def refuse(kind: str, text: str) -> str | None:
        asked.append((kind, text))
        return "does not compile" if text == "bad" else None

    sent = workflow(
        step(
            concurrency=(Concurrency("k", max_runs_expression="m"),),
            rate_limits=(
                RateLimitUse("x", key_expression="rk", units_expression="ru", limit_expression="rv"),
            ),
            conditions=(
                condition(kind="event", event_key="e", expression="bad"),
                condition(kind="parent", parent="two", expression="p"),
            ),
            batch=BatchConfig(1, group_key="g"),
        ),
        step("two"),
        default_filters=(DefaultFilter("f", "s"),),
        idempotency=Idempotency("i", 1),
    )
    assert prepare(sent, check_expression=refuse).problems == (
        "tasks[0].conditions[0].expression: does not compile",
    )
    assert {kind for kind, _ in asked} == set(ExpressionKind)


def test_checksum_is_pinned() -> None:
    definition = prepare(workflow()).definition
    # A changed checksum would make a new version of every workflow at the next registration.
    assert checksum(definition) == "bc9182287f5cda711c9ca28a5480f31501a6b43fcb81302d76ab021898ddf644"


def test_checksum_ignores_spelling_and_random_group_names() -> None:
    def sent(slots: dict[str, int], timeout: float) -> WorkflowDefinition:
        group = str(uuid4())
        both = (condition(or_group=group), condition(data_key="t", or_group=group))
        return prepare(workflow(step(slots=slots, timeout=timeout, conditions=both))).definition

    assert checksum(sent({"a": 1, "b": 2}, 5)) == checksum(sent({"b": 2, "a": 1}, 5.0))


@pytest.mark.parametrize(
    "other",
    [
        workflow(name="other"),
        workflow(step(timeout=61.0)),
        workflow(step(slots={"default": 2})),
        workflow(step(), step("two")),
        workflow(input_schema=b"{}"),
        workflow(step(conditions=(condition(),))),
    ],
)
def test_checksum_differs_with_the_meaning(other: WorkflowDefinition) -> None:
    assert checksum(prepare(other).definition) != checksum(prepare(workflow()).definition)


def test_checksum_sees_which_conditions_share_a_group() -> None:
    apart = workflow(step(conditions=(condition(or_group="a"), condition(or_group="b"))))
    together = workflow(step(conditions=(condition(or_group="a"), condition(or_group="a"))))
    assert checksum(apart) != checksum(together)


@pytest.mark.parametrize(
    "runnable",
    [
        workflow(),
        workflow(step(retries=3, backoff_factor=2.0, timeout=1.0, slots={"default": 5})),
        workflow(step(labels=(LabelRequest("k", "v"),)), default_priority=2),
        workflow(step(), step("two", parents=("one",)), on_failure=step("three"), sticky=1),
        workflow(step(conditions=(condition(),))),
        workflow(
            event_triggers=("e",), cron_triggers=("@daily",), default_filters=(DefaultFilter("a", "b"),)
        ),
    ],
)
def test_missing_feature_runnable_is_none(runnable: WorkflowDefinition) -> None:
    assert missing_feature(prepare(runnable).definition) is None


@pytest.mark.parametrize(
    ("definition", "feature"),
    [
        (workflow(step(), step("two", durable=True)), "durable tasks"),
        (workflow(on_failure=step("two", batch=BatchConfig(1))), "batch tasks"),
        (workflow(step(durable=True)), "durable tasks"),
        (workflow(step(batch=BatchConfig(1))), "batch tasks"),
        (workflow(step(concurrency=(Concurrency("a"),))), "concurrency limits"),
        (workflow(concurrency=(Concurrency("a"),)), "concurrency limits"),
        (workflow(step(rate_limits=(RateLimitUse("k"),))), "rate limits"),
    ],
)
def test_missing_feature_names_workflow_and_feature(definition: WorkflowDefinition, feature: str) -> None:
    for shape in (definition, prepare(definition).definition):
        sentence = missing_feature(shape)
        assert sentence is not None
        assert sentence.startswith('workflow "wf" ')
        assert sentence.endswith(f"{feature} are not there yet")
