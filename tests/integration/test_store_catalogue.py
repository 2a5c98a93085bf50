"""Workflows, workers, tenants, people and tokens."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from rows import OTHER, TENANT, ids, new_task, now
from store_server import MakeLedger

from broadaxe.domain.errors import AlreadyExists, Unavailable
from broadaxe.domain.ids import EngineId, TenantId, VersionId, WorkerId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import (
    BatchConfig,
    Concurrency,
    Condition,
    DefaultFilter,
    Idempotency,
    LabelRequest,
    LabelValue,
    RateLimitUse,
    StepDefinition,
    WorkflowDefinition,
)
from broadaxe.store.checks import SKEW_LIMIT, check_server, judge
from broadaxe.store.connection import Database
from broadaxe.store.ledger import StoreError, WorkerRow
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.tenants import Role, Tenants
from broadaxe.store.tokens import Tokens


def definition(name: str = "flow", **more: object) -> WorkflowDefinition:
    step = StepDefinition(
        id=ids.uuid7(), name="step", action="flow:step", retries=3, backoff_factor=1.5, slots={"gpu": 2},
        labels=(LabelRequest("gpu", number=1, required=True),), rate_limits=(RateLimitUse("k", 1),),
        concurrency=(Concurrency("input.a", 3),), batch=BatchConfig(5, 100),
        conditions=(Condition("event", "k", 0, "g", "true", consider_since=now()),),
    )  # fmt: skip
    return WorkflowDefinition(
        name=name, steps=(step,), on_failure=step, default_filters=(DefaultFilter("e", "s", b"\x00\xff"),),
        idempotency=Idempotency("input.id", 1000), input_schema=b"{}", event_triggers=("a:b",), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def worker(**more: object) -> WorkerRow:
    row = WorkerRow(
        TENANT, WorkerId(ids.uuid7()), "w", ("flow:step",), {"default": 100},
        {"gpu": LabelValue(number=1), "zone": LabelValue("a")}, {"language": "python"}, now(),
    )  # fmt: skip
    return replace(row, **more)  # type: ignore[arg-type]


async def test_put_workflow_every_field_reads_back(ledger: PostgresLedger) -> None:
    wanted = definition()
    version = await ledger.put_workflow(TENANT, wanted)
    assert version.definition == wanted
    assert await ledger.latest_version(TENANT, "flow") == version
    assert await ledger.get_version(TENANT, version.version_id) == version
    assert await ledger.get_version(OTHER, version.version_id) is None
    assert await ledger.latest_version(OTHER, "flow") is None
    assert await ledger.get_version(TENANT, VersionId(ids.uuid7())) is None


async def test_put_workflow_same_again_keeps_version_other_makes_one(ledger: PostgresLedger) -> None:
    wanted = definition()
    first = await ledger.put_workflow(TENANT, wanted)
    assert await ledger.put_workflow(TENANT, wanted) == first
    second = await ledger.put_workflow(TENANT, replace(wanted, description="new"))
    assert second.workflow_id == first.workflow_id
    assert second.version_id != first.version_id
    third = await ledger.put_workflow(TENANT, wanted)
    assert third.version_id not in (first.version_id, second.version_id)
    assert await ledger.latest_version(TENANT, "flow") == third


async def test_put_workflow_same_name_at_once_one_workflow(ledger: PostgresLedger) -> None:
    wanted = definition("race")
    versions = await asyncio.gather(*(ledger.put_workflow(TENANT, wanted) for _ in range(8)))
    assert len({version.version_id for version in versions}) == 1
    mixed = await asyncio.gather(*(ledger.put_workflow(TENANT, definition("mix")) for _ in range(8)))
    assert len({version.workflow_id for version in mixed}) == 1
    assert len({version.version_id for version in mixed}) == 8


async def test_worker_life_reads_back(ledger: PostgresLedger) -> None:
    row = worker()
    await ledger.add_worker(row)
    await ledger.add_worker(row)
    assert await ledger.get_worker(TENANT, row.id) == row
    assert await ledger.get_worker(OTHER, row.id) is None
    opened, later = now(), now() + timedelta(seconds=1)
    assert await ledger.set_session(TENANT, row.id, opened, True)
    assert await ledger.set_session(TENANT, row.id, later, True)
    assert not await ledger.set_session(TENANT, row.id, opened, True)
    assert not await ledger.set_session(TENANT, row.id, opened, False)
    stored = await ledger.get_worker(TENANT, row.id)
    assert stored is not None
    assert stored.listening_since == later
    assert await ledger.set_session(TENANT, row.id, later, False)
    assert not await ledger.set_session(OTHER, row.id, later, True)
    assert await ledger.set_paused(TENANT, row.id, True)
    assert not await ledger.set_paused(OTHER, row.id, True)
    beat = now() + timedelta(seconds=9)
    await ledger.record_heartbeats([(TENANT, row.id, beat), (TENANT, row.id, opened), (OTHER, row.id, beat)])
    stored = await ledger.get_worker(TENANT, row.id)
    assert stored is not None
    assert (stored.paused, stored.last_heartbeat_at, stored.listening_since) == (True, beat, None)


async def test_put_labels_merged_by_key(ledger: PostgresLedger) -> None:
    row = worker()
    await ledger.add_worker(row)
    new = {"zone": LabelValue("b"), "x": LabelValue(number=7)}
    assert await ledger.put_labels(TENANT, row.id, new) == {**row.labels, **new}
    assert await ledger.put_labels(OTHER, row.id, new) is None


async def test_load_workers_seen_or_holding_tasks(ledger: PostgresLedger) -> None:
    long_ago = now() - timedelta(days=1)
    fresh, old, holding = worker(), worker(registered_at=long_ago), worker(registered_at=long_ago)
    for row in (fresh, old, holding):
        await ledger.add_worker(row)
    task = new_task(state=TaskState.ASSIGNED)
    task = replace(task, status=replace(task.status, worker_id=holding.id))
    await ledger.create_tasks([task], patience=30)
    found = await ledger.load_workers(now() - timedelta(minutes=5))
    assert {row.id for row in found} == {fresh.id, holding.id}


async def test_add_worker_refused_text_is_a_store_error(ledger: PostgresLedger) -> None:
    with pytest.raises(StoreError) as caught:
        await ledger.add_worker(worker(name="a\x00b"))
    assert "\x00" not in caught.value.message


async def test_tenants_and_people(ledger: PostgresLedger) -> None:
    tenants = Tenants(ledger.database)
    made = await tenants.create_tenant("Default", "default")
    with pytest.raises(AlreadyExists):
        await tenants.create_tenant("Other", "default")
    assert await tenants.ensure_tenant(made.id, "Renamed", "renamed") == made
    assert await tenants.get_tenant(made.id) == await tenants.tenant_by_slug("default") == made
    assert await tenants.list_tenants() == [made]
    user = await tenants.create_user("Admin@example.com", "Admin", "hash")
    with pytest.raises(AlreadyExists):
        await tenants.create_user("admin@EXAMPLE.com", "Twin", None)
    assert await tenants.ensure_user("admin@example.com", "Twin", None) == user.id
    assert await tenants.set_password(user.id, "new")
    assert not await tenants.set_password(ids.uuid7(), "new")
    stored = await tenants.get_user(user.id)
    assert stored is not None
    assert stored.password_hash == "new"
    await tenants.put_member(made.id, user.id, Role.MEMBER)
    await tenants.ensure_member(made.id, user.id, "OWNER")
    assert [member.role for member in await tenants.list_members(made.id)] == [Role.MEMBER]
    await tenants.put_member(made.id, user.id, Role.ADMIN)
    assert [(m.tenant_id, m.role) for m in await tenants.memberships(user.id)] == [(made.id, Role.ADMIN)]
    with pytest.raises(StoreError):
        await tenants.put_member(TenantId(ids.uuid7()), user.id, Role.MEMBER)


async def test_tokens_revoked_once_by_their_tenant(ledger: PostgresLedger) -> None:
    tenants, tokens = Tenants(ledger.database), Tokens(ledger.database)
    tenant = await tenants.create_tenant("Default", "default")
    token_id, expired = ids.uuid7(), ids.uuid7()
    expires = now() + timedelta(days=1)
    await tokens.insert(tenant.id, token_id, "one", expires)
    await tokens.insert(tenant.id, expired, "two", now() - timedelta(days=1))
    found = await tokens.lookup(tenant.id, token_id)
    assert found is not None
    assert (found.tenant_id, found.name, found.expires_at, found.revoked) == (
        tenant.id,
        "one",
        expires,
        False,
    )
    assert await tokens.lookup(OTHER, token_id) is None
    assert not await tokens.revoke(OTHER, token_id)
    assert not await tokens.revoke(tenant.id, expired)
    await tokens.note_used([(tenant.id, token_id, now())])
    assert await tokens.revoke(tenant.id, token_id)
    assert not await tokens.revoke(tenant.id, token_id)
    assert [(token.id, token.revoked) for token in await tokens.list_tokens(tenant.id)] == [
        (expired, False),
        (token_id, True),
    ]
    assert await tokens.list_tokens(OTHER) == []
    with pytest.raises(StoreError):
        await tokens.insert(TenantId(ids.uuid7()), ids.uuid7(), "x", expires)


async def test_check_server_healthy_has_no_problems(ledger: PostgresLedger) -> None:
    facts = await check_server(ledger.database)
    assert facts.problems == ()
    assert facts.version >= 150000
    assert abs(facts.skew) < 1


@pytest.mark.parametrize(
    ("ahead", "trip", "skew"),
    [
        (0.01, 0.02, 0.0),
        # The machine stood still on the way to the server, or on the way back.
        (6.0, 6.01, 0.0),
        (0.0, 6.01, 0.0),
        (6.0, 1.0, 5.0),
        (-5.0, 6.0, -5.0),
    ],
)
def test_clock_is_wrong_only_by_what_the_way_to_it_does_not_explain(
    ahead: float, trip: float, skew: float
) -> None:
    asked = now()
    facts = judge((180006, asked + timedelta(seconds=ahead), "UTC", False, False), asked, trip)  # type: ignore[arg-type]
    assert facts.skew == pytest.approx(skew)
    assert bool(facts.problems) is (abs(skew) > SKEW_LIMIT)


async def test_database_read_only_counts_as_away(dsn: str, make_ledger: MakeLedger) -> None:
    ledger = await make_ledger(dsn, read_patience=2.0)
    await ledger.database.availability.wait()
    writable: Database = ledger.database
    tenants = Tenants(writable)
    await tenants.create_tenant("a", "a")
    admin = await asyncpg.connect(dsn)
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(Unavailable):
        await tenants.create_tenant("b", "b")
    assert not ledger.state.available
    back = asyncio.ensure_future(writable.availability.wait(30))
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await admin.close()
    assert await back
    # Connections of the pool that are still read-only are not kept.
    await ledger.acquire_lease(EngineId(ids.uuid7()))
    assert await ledger.create_tasks([new_task()], patience=None)
