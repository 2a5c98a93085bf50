"""Events, filters and idempotency keys in the database."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from rows import OTHER, TENANT, WORKFLOW, completed, ids, new_task, now

from broadaxe.domain.errors import NotFound, ResourceExhausted
from broadaxe.domain.event_filters import ExpressionFailure, FailureSource
from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import DefaultFilter, StepDefinition, WorkflowDefinition
from broadaxe.store.event_ledger import EventLink, EventSearch, FilterChange, KeyHolder, NewEvent
from broadaxe.store.ledger import ChildClaim, NewTask, StoreError
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.rows import id_floor
from broadaxe.store.statements import statement

HOUR = timedelta(hours=1)


def new_event(key: str = "k", links: tuple[EventLink, ...] = (), **fields: object) -> NewEvent:
    event = UserEvent(TENANT, ids.uuid7(), key, b'{"a":1}', b"{}", now())
    return NewEvent(replace(event, **fields), bytes(25), links)  # type: ignore[arg-type]


def keyed(key: str, held: timedelta = HOUR, until_end: bool = False, **facts: object) -> NewTask:
    task = new_task(state=TaskState.ASSIGNED, **facts)  # type: ignore[arg-type]
    return replace(task, key=KeyClaim(key, task.facts.created_at + held, until_end))


def definition(name: str = "flow", **fields: object) -> WorkflowDefinition:
    step = StepDefinition(ids.uuid7(), "step", "flow:step")
    return WorkflowDefinition(name, (step,), **fields)  # type: ignore[arg-type]


async def create(ledger: PostgresLedger, *tasks: NewTask) -> list[UUID]:
    return await ledger.create_tasks(tasks, patience=30)


async def test_an_event_its_runs_and_its_links_are_stored_together(ledger: PostgresLedger) -> None:
    task, filter_id = new_task(triggers=b'{"filter_payload":{}}'), ids.uuid7()
    failure = ExpressionFailure(FailureSource.FILTER, WORKFLOW, filter_id, "no \ud800 such key")
    new = new_event(links=(EventLink(task.facts.run_id, filter_id),), scope="s", priority=2)
    new = replace(new, failures=(failure,))
    assert await ledger.create_tasks([task], patience=30, event=new) == [task.facts.run_id]
    stored = await ledger.get_task(TENANT, task.facts.id)
    assert stored is not None
    assert stored.facts == task.facts
    pages = [page async for page in ledger.events.load_events_since(new.event.at - HOUR)]
    assert [(one.id, one.key, one.at) for page in pages for one in page] == [
        (new.event.id, "k", new.event.at)
    ]


async def test_an_event_without_runs_is_stored(ledger: PostgresLedger) -> None:
    new = new_event()
    assert await ledger.create_tasks([], patience=30, event=new) == []
    pages = [page async for page in ledger.events.load_events_since(new.event.at - HOUR)]
    assert [one.id for page in pages for one in page] == [new.event.id]


async def test_a_poisoned_event_leaves_its_neighbours_alone(ledger: PostgresLedger) -> None:
    good, bad, after = new_event(), new_event(key="\x00"), new_event()
    futures = [ledger.create_tasks([], patience=30, event=one) for one in (good, bad, after)]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert answers[0] == answers[2] == []
    assert isinstance(answers[1], StoreError)


async def test_a_key_is_held_until_it_expires(ledger: PostgresLedger) -> None:
    first = keyed("a")
    assert await create(ledger, first) == [first.facts.run_id]
    second = keyed("a")
    answer = await create(ledger, second)
    assert answer == [first.facts.run_id]
    assert isinstance(answer[0], KeyHolder)
    assert await ledger.get_task(TENANT, second.facts.id) is None
    later = keyed("a", created_at=now() + 2 * HOUR)
    assert await create(ledger, later) == [later.facts.run_id]
    other = keyed("a", tenant=OTHER)
    assert await create(ledger, other) == [other.facts.run_id]


async def test_in_one_request_the_last_to_expire_wins_in_one_commit_the_first(ledger: PostgresLedger) -> None:
    at = now()
    short, long, equal = (keyed("a", held, created_at=at) for held in (HOUR, 2 * HOUR, 2 * HOUR))
    answer = await create(ledger, short, long, equal)
    assert answer == [long.facts.run_id] * 3
    assert [isinstance(one, KeyHolder) for one in answer] == [True, False, True]
    first, second = keyed("b"), keyed("b", 2 * HOUR)
    answers = await asyncio.gather(create(ledger, first), create(ledger, second))
    assert answers == [[first.facts.run_id], [first.facts.run_id]]


async def test_the_end_of_a_run_frees_a_key_that_is_held_until_then(ledger: PostgresLedger) -> None:
    task, timed = keyed("a", until_end=True), keyed("t")
    await create(ledger, task, timed)
    for one in (task, timed):
        assert await ledger.write_task(replace(completed(one), frees_key_of=one.facts.run_id))
    again = keyed("a")
    assert await create(ledger, again) == [again.facts.run_id]
    assert isinstance((await create(ledger, keyed("t")))[0], KeyHolder)


async def test_an_end_that_does_not_hold_frees_nothing(ledger: PostgresLedger) -> None:
    task = keyed("a", until_end=True)
    await create(ledger, task)
    stale = replace(completed(task), expect_attempt=7, frees_key_of=task.facts.run_id)
    assert not await ledger.write_task(stale)
    assert isinstance((await create(ledger, keyed("a")))[0], KeyHolder)


async def test_a_child_that_loses_its_key_gives_its_place_back(ledger: PostgresLedger) -> None:
    holder = keyed("a", timedelta(seconds=1))
    await create(ledger, holder)
    claim = ChildClaim(ids.uuid7(), "0:i:0")
    lost = keyed("a", claim=claim)
    assert isinstance((await create(ledger, lost))[0], KeyHolder)
    later = keyed("a", claim=claim, created_at=now() + HOUR)
    assert await create(ledger, later) == [later.facts.run_id]


async def test_a_repeated_child_does_not_ask_for_its_key_again(ledger: PostgresLedger) -> None:
    claim = ChildClaim(ids.uuid7(), "0:i:0")
    first, again = keyed("a", claim=claim), keyed("a", claim=claim)
    assert await create(ledger, first) == [first.facts.run_id]
    answer = await create(ledger, again)
    assert answer == [first.facts.run_id]
    assert not isinstance(answer[0], KeyHolder)


async def test_expired_keys_are_taken_away(ledger: PostgresLedger) -> None:
    await create(ledger, keyed("old", -HOUR), keyed("new"))
    assert await ledger.events.expire_keys() == 1
    assert await ledger.events.expire_keys() == 0


async def test_subscriptions_are_those_of_the_newest_versions(ledger: PostgresLedger) -> None:
    await ledger.put_workflow(TENANT, definition(event_triggers=("a", "b*", "a")))
    await ledger.put_workflow(TENANT, definition("quiet"))
    await ledger.put_workflow(OTHER, definition("theirs", event_triggers=("a",)))
    found, filters = await ledger.events.load_subscriptions(TENANT)
    assert [(one.workflow, one.keys) for one in found] == [("flow", ("a", "b*"))]
    assert filters == []
    await ledger.put_workflow(TENANT, definition(event_triggers=()))
    assert await ledger.events.load_subscriptions(TENANT) == ([], [])


async def test_declared_filters_are_replaced_and_those_of_the_api_stay(ledger: PostgresLedger) -> None:
    first = definition(event_triggers=("a",), default_filters=(DefaultFilter("true", "s", b'{"a":1}'),))
    version = await ledger.put_workflow(TENANT, first)
    events = ledger.events
    made = await events.add_filter(TENANT, version.workflow_id, "t", "false", b"{}", 10)
    await ledger.put_workflow(TENANT, replace(first, default_filters=(DefaultFilter("1 == 1", "u"),)))
    _, filters = await events.load_subscriptions(TENANT)
    assert [(one.scope, one.expression, one.payload, one.declared) for one in filters] == [
        ("t", "false", b"{}", False),
        ("u", "1 == 1", b"{}", True),
    ]
    changed = await events.change_filter(TENANT, made.id, FilterChange(expression="true"))
    assert changed is not None
    assert (changed.scope, changed.expression) == ("t", "true")
    assert await events.change_filter(OTHER, made.id, FilterChange(scope="x")) is None
    assert await events.delete_filter(OTHER, made.id) is None
    assert await events.delete_filter(TENANT, made.id) == changed
    assert await events.delete_filter(TENANT, made.id) is None


async def test_filters_are_bounded_and_need_their_workflow(ledger: PostgresLedger) -> None:
    version = await ledger.put_workflow(TENANT, definition())
    with pytest.raises(NotFound, match="workflowId"):
        await ledger.events.add_filter(TENANT, ids.uuid7(), "s", "true", b"{}", 1)
    with pytest.raises(NotFound, match="workflowId"):
        await ledger.events.add_filter(OTHER, version.workflow_id, "s", "true", b"{}", 1)
    await ledger.events.add_filter(TENANT, version.workflow_id, "s", "true", b"{}", 1)
    with pytest.raises(ResourceExhausted, match="there are 1; at most 1"):
        await ledger.events.add_filter(TENANT, version.workflow_id, "s", "true", b"{}", 1)


async def test_old_events_go_with_their_day(ledger: PostgresLedger) -> None:
    today = now()
    await ledger.create_tasks([new_task()], patience=30, event=new_event())
    report = await ledger.partitions.drop_partitions_before((today + timedelta(days=1)).date())
    assert today.date() in report.emptied_days, "its unfinished task stays"
    assert [page async for page in ledger.events.load_events_since(today - HOUR)] == []


async def test_earlier_events_are_found_by_key_scope_and_time_in_pages(
    ledger: PostgresLedger, dsn: str
) -> None:
    since = now() - timedelta(seconds=1)
    floor = id_floor(since)

    def at(number: int, **fields: object) -> NewEvent:
        return new_event(**{"scope": "s", "id": UUID(int=floor.int + number), **fields})  # type: ignore[arg-type]

    wanted = [at(number, payload=b'{"n":%d}' % number) for number in range(25)]
    others = [
        at(100, key="other"), at(101, scope="t"), at(102, scope=None), at(103, tenant_id=OTHER),
        new_event(scope="s", id=UUID(int=floor.int - 1)),
    ]  # fmt: skip
    large = [at(200 + number, key="large", payload=b'"' + b"x" * 700_000 + b'"') for number in range(4)]
    for one in (*wanted, *others, *large):
        await ledger.create_tasks([], patience=30, event=one)
    poison = EventSearch(TENANT, "\x00", "s", since)
    searches = [EventSearch(TENANT, "k", "s", since), poison, EventSearch(TENANT, "large", "s", since)]
    first, none, some = await ledger.events.find_events(searches)
    assert [one.id for one in first] == [new.event.id for new in wanted[:20]]
    assert first[3].payload == b'{"n":3}'
    assert none == []
    assert len(some) == 2, "a page has so many bytes at most, and one event more"
    ((rest),) = await ledger.events.find_events([replace(searches[0], after=first[-1].id)])
    assert [one.id for one in rest] == [new.event.id for new in wanted[20:]]
    assert await ledger.events.find_events([replace(searches[0], after=rest[-1].id)]) == [[]]
    ((late),) = await ledger.events.find_events([replace(searches[0], since=now() + HOUR)])
    assert late == []


async def test_earlier_events_are_looked_up_by_an_index(ledger: PostgresLedger, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    text = statement("event_find").text
    values = ([0], [TENANT], ["k"], ["s"], [ids.uuid7()], 20, 1 << 20)
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {text}", *values)
    await connection.close()
    lines = "\n".join(row[0] for row in plan)
    assert "hashtextextended" in lines.partition("Index Cond:")[2].partition("\n")[0], lines
    assert "Sort" not in lines.partition("Limit")[2], lines
