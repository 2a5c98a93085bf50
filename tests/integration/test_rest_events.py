"""Events and filters over HTTP, through the official SDK's generated client, on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from rows import TENANT, completed, ids, new_task, now
from test_rest_reads import DEFINITION, STEP_ID, Tokens, Unmeasured

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.engine.api import NewUserEvent, Origin, Refusal
from broadaxe.engine.filters import FilterLimits, Filters
from broadaxe.expr.compiled import Cel
from broadaxe.rest_api.app import build_app
from broadaxe.rest_api.server import RestServer
from broadaxe.store.event_ledger import EventLink, NewEvent
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.store_views import StoreViews

sdk = pytest.importorskip("hatchet_sdk.clients.rest", reason="hatchet-sdk is not installed")
STABLE = f"/api/v1/stable/tenants/{TENANT}"


class Commands:
    """Stores events without an engine; filters as the product does."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self._ledger = ledger
        self.told: list[TenantId] = []
        self.filters = Filters(ledger.events, Cel(), FilterLimits(filters=3), self._changed)

    async def _changed(self, tenant_id: TenantId) -> None:
        self.told.append(tenant_id)

    async def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> UserEvent:
        return await push(self._ledger, event.key, event.payload, event.metadata or b"{}", event.scope)

    async def push_events(
        self, tenant_id: TenantId, events: list[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        return [await self.push_event(tenant_id, event, origin) for event in events]


async def push(
    ledger: PostgresLedger, key: str, payload: bytes = b"{}", metadata: bytes = b"{}",
    scope: str | None = None, links: tuple[EventLink, ...] = (),
) -> UserEvent:  # fmt: skip
    event = UserEvent(TENANT, ids.uuid7(), key, payload, metadata, now(), scope)
    await ledger.create_tasks([], patience=30, event=NewEvent(event, bytes(25), links))
    return event


@dataclass
class Site:
    ledger: PostgresLedger
    version: WorkflowVersion
    commands: Commands
    http: httpx.AsyncClient
    port: int

    async def sdk(self, use: Any) -> Any:
        """Run `use(client)` with the SDK's generated client, which blocks."""
        config = sdk.Configuration(host=f"http://127.0.0.1:{self.port}", access_token="good")
        config.datetime_format = "%Y-%m-%dT%H:%M:%S.%fZ"

        def call() -> Any:
            with sdk.ApiClient(config) as client:
                return use(client)

        return await asyncio.to_thread(call)


@pytest.fixture
async def site(ledger: PostgresLedger) -> AsyncIterator[Site]:
    version = await ledger.put_workflow(TENANT, DEFINITION)
    clock, commands = SystemClock(), Commands(ledger)
    app = build_app(
        StoreViews(PostgresReads(ledger.database), clock),
        commands,  # type: ignore[arg-type]
        Tokens(),
        clock,
        Tracer(clock, SystemIds(), None, Sampler(1.0)),
        Unmeasured(),
        lambda: True,
    )
    server = RestServer(app)
    await server.start()
    headers = {"authorization": "Bearer good"}
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, headers=headers) as http:
        yield Site(ledger, version, commands, http, server.port)
    await server.stop()


async def run_of(site: Site, state: TaskState = TaskState.QUEUED) -> UUID:
    version = site.version
    task = new_task(
        state=TaskState.ASSIGNED if state.final else state,
        workflow_id=version.workflow_id,
        version_id=version.version_id,
        step_id=STEP_ID,
    )
    await site.ledger.create_tasks([task], patience=30)
    if state is TaskState.COMPLETED:
        await site.ledger.write_task(completed(task))
    return task.facts.id


async def test_events_are_listed_with_what_they_started(site: Site) -> None:
    from hatchet_sdk.clients.rest.api.event_api import EventApi
    from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus

    filter_id = ids.uuid7()
    done, waits = await run_of(site, TaskState.COMPLETED), await run_of(site)
    links = (EventLink(done, filter_id), EventLink(waits, None))
    first = await push(site.ledger, "a", b'{"n":1.50}', b'{"team":"blue","x":"y"}', "s", links)
    second = await push(site.ledger, "b", metadata=b'{"team":"red"}')
    tenant, workflow = str(TENANT), str(site.version.workflow_id)

    def use(client: Any) -> None:
        api: Any = EventApi(client)

        def listed(**query: Any) -> list[str]:
            rows = api.v1_event_list(tenant=tenant, **query).rows
            return [row.metadata.id for row in rows]

        both = [str(second.id), str(first.id)]
        assert listed() == both
        assert listed(limit=1) == both[:1]
        assert listed(offset=1) == both[1:]
        assert listed(keys=["a"]) == [str(first.id)]
        assert listed(keys=["a", "b"]) == both
        assert listed(event_ids=[str(first.id)]) == [str(first.id)]
        assert listed(scopes=["s"]) == [str(first.id)]
        assert listed(additional_metadata=["team:blue", "x:y"]) == [str(first.id)]
        assert listed(additional_metadata=["team:blue", "x:z"]) == []
        assert listed(workflow_ids=[workflow]) == [str(first.id)]
        assert listed(workflow_ids=[str(ids.uuid7())]) == []
        assert listed(workflow_run_statuses=[V1TaskStatus.COMPLETED]) == [str(first.id)]
        assert listed(workflow_run_statuses=[V1TaskStatus.FAILED]) == []
        assert listed(since=now() - timedelta(minutes=1)) == both
        assert listed(until=now() - timedelta(minutes=1)) == []
        event = api.v1_event_get(tenant=tenant, v1_event=str(first.id))
        assert (event.key, event.scope, event.payload) == ("a", "s", {"n": 1.5})
        assert event.additional_metadata == {"team": "blue", "x": "y"}
        summary = event.workflow_run_summary
        assert (summary.succeeded, summary.queued, summary.running, summary.failed) == (1, 1, 0, 0)
        runs = {one.workflow_run_id: one.filter_id for one in event.triggered_runs}
        assert runs == {str(done): str(filter_id), str(waits): None}
        assert api.v1_event_key_list(tenant=tenant).rows == ["a", "b"]
        with pytest.raises(sdk.exceptions.NotFoundException):
            api.v1_event_get(tenant=tenant, v1_event=str(ids.uuid7()))

    await site.sdk(use)


async def test_runs_of_several_tasks_are_counted_with_their_event(site: Site, dsn: str) -> None:
    run_id, workflow_id = ids.uuid7(), ids.uuid7()
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO run (created_at, finished_at, state, priority, tenant_id, id, workflow_id, version_id,"
        " trace, metadata, input) VALUES (now(), now(), 11, 1, $1, $2, $3, $3, '', '{}', '{}')",
        TENANT,
        run_id,
        workflow_id,
    )
    await connection.close()
    event = await push(site.ledger, "a", links=(EventLink(run_id, None),))
    found = await site.http.get(f"{STABLE}/events/{event.id}")
    assert found.json()["workflowRunSummary"]["failed"] == 1
    for query, count in (
        ({"workflowIds": str(workflow_id)}, 1),
        ({"workflowIds": str(run_id)}, 0),
        ({"workflowRunStatuses": "FAILED"}, 1),
        ({"workflowRunStatuses": "COMPLETED"}, 0),
    ):
        assert len((await site.http.get(f"{STABLE}/events", params=query)).json()["rows"]) == count


async def test_runs_are_listed_by_the_event_that_started_them(site: Site) -> None:
    from hatchet_sdk.clients.rest.api.workflow_runs_api import WorkflowRunsApi

    run = await run_of(site)
    await run_of(site)
    event = await push(site.ledger, "a", links=(EventLink(run, None),))

    def use(client: Any) -> list[str]:
        api: Any = WorkflowRunsApi(client)
        page = api.v1_workflow_run_list(
            tenant=str(TENANT),
            since=now() - timedelta(hours=1),
            only_tasks=False,
            triggering_event_external_id=str(event.id),
        )
        return [row.metadata.id for row in page.rows]

    assert await site.sdk(use) == [str(run)]


async def test_a_page_of_payloads_too_large_for_one_answer_is_refused(site: Site) -> None:
    for _ in range(3):
        await push(site.ledger, "a", b'{"a":"' + b"x" * 1_000 + b'"}')
    from broadaxe.store.event_reads import EventCriteria

    reads = PostgresReads(site.ledger.database)
    with pytest.raises(Exception, match="are more than 2000 bytes"):
        await reads.list_events(TENANT, EventCriteria(), 0, 10, 2_000)
    assert len(await reads.list_events(TENANT, EventCriteria(), 0, 1, 2_000)) == 1


async def test_filters_are_made_changed_listed_and_deleted(site: Site) -> None:
    from hatchet_sdk.clients.rest.api.filter_api import FilterApi
    from hatchet_sdk.clients.rest.models.v1_create_filter_request import V1CreateFilterRequest
    from hatchet_sdk.clients.rest.models.v1_update_filter_request import V1UpdateFilterRequest

    tenant, workflow = str(TENANT), str(site.version.workflow_id)

    def use(client: Any) -> None:
        api: Any = FilterApi(client)

        def create(scope: str, **more: Any) -> Any:
            request = V1CreateFilterRequest(
                workflowId=workflow, expression="input.a == 1", scope=scope, **more
            )
            return api.v1_filter_create(tenant=tenant, v1_create_filter_request=request)

        made = create("s", payload={"k": "v"})
        assert (made.scope, made.expression, made.payload) == ("s", "input.a == 1", {"k": "v"})
        assert made.is_declarative is False
        other = create("t")
        assert other.payload == {}
        assert [one.scope for one in api.v1_filter_list(tenant=tenant).rows] == ["s", "t"]
        only = api.v1_filter_list(tenant=tenant, workflow_ids=[workflow], scopes=["t"])
        assert [one.scope for one in only.rows] == ["t"]
        changed = api.v1_filter_update(
            tenant=tenant,
            v1_filter=made.metadata.id,
            v1_update_filter_request=V1UpdateFilterRequest(expression="true"),
        )
        assert (changed.scope, changed.expression, changed.payload) == ("s", "true", {"k": "v"})
        assert api.v1_filter_get(tenant=tenant, v1_filter=made.metadata.id) == changed
        assert api.v1_filter_delete(tenant=tenant, v1_filter=made.metadata.id) == changed
        with pytest.raises(sdk.exceptions.NotFoundException):
            api.v1_filter_get(tenant=tenant, v1_filter=made.metadata.id)

    await site.sdk(use)
    assert site.commands.told == [TENANT] * 4


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"expression": "1 +"}, 400, "expression: "),
        ({"expression": "output.a == 1"}, 400, "undeclared reference to 'output.a'"),
        ({"expression": "1"}, 400, "expression: must yield true or false"),
        ({"scope": ""}, 400, "scope: must not be empty"),
        ({"scope": "s" * 1_025}, 400, "scope: longer than 1024 bytes"),
        ({"payload": [1]}, 400, "payload: Expected `object`"),
        ({"payload": {"a": "\x00"}}, 400, "payload: must not contain U+0000"),
        ({"payload": {"a": "x" * 70_000}}, 400, "payload: larger than 65536 bytes"),
        ({"workflowId": "01938d2a-0000-7000-8000-00000000abcd"}, 404, "workflow"),
        ({"workflowId": "x"}, 400, "workflowId"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(
    site: Site, change: dict[str, Any], status: int, words: str
) -> None:
    body = {"workflowId": str(site.version.workflow_id), "expression": "true", "scope": "s", **change}
    answer = await site.http.post(f"{STABLE}/filters", json=body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert (await site.http.get(f"{STABLE}/filters")).json()["rows"] == []


async def test_filters_are_bounded(site: Site) -> None:
    body = {"workflowId": str(site.version.workflow_id), "expression": "true", "scope": "s"}
    for _ in range(3):
        assert (await site.http.post(f"{STABLE}/filters", json=body)).status_code == 200
    refused = await site.http.post(f"{STABLE}/filters", json=body)
    assert (refused.status_code, "at most 3" in refused.text) == (429, True)


async def test_an_expression_is_tried_out(site: Site) -> None:
    from hatchet_sdk.clients.rest.api.cel_api import CELApi
    from hatchet_sdk.clients.rest.models.v1_cel_debug_request import V1CELDebugRequest

    def use(client: Any) -> list[tuple[Any, Any, Any]]:
        api: Any = CELApi(client)
        asked = [
            {
                "expression": "input.a == 1 && payload.b == 'c' && additional_metadata.d == 'e'",
                "input": {"a": 1},
                "filterPayload": {"b": "c"},
                "additionalMetadata": {"d": "e"},
            },
            {"expression": "input.a == 1", "input": {"a": 2}},
            {"expression": "input.a == 1", "input": {}},
            {"expression": "input.a", "input": {"a": 2}},
            {"expression": "1 +", "input": {}},
        ]
        answers = [
            api.v1_cel_debug(tenant=str(TENANT), v1_cel_debug_request=V1CELDebugRequest(**one))
            for one in asked
        ]
        return [(one.status.value, one.output, one.error) for one in answers]

    found = await site.sdk(use)
    assert [one[:2] for one in found] == [
        ("SUCCESS", True),
        ("SUCCESS", False),
        ("ERROR", None),
        ("ERROR", None),
        ("ERROR", None),
    ]
    assert found[2][2] == 'Key not found in map : "a"'
    assert found[3][2] == "must yield true or false, not a number"


async def test_events_are_pushed_over_http(site: Site) -> None:
    from hatchet_sdk.clients.rest.api.event_api import EventApi
    from hatchet_sdk.clients.rest.models.bulk_create_event_request import BulkCreateEventRequest
    from hatchet_sdk.clients.rest.models.create_event_request import CreateEventRequest

    def use(client: Any) -> tuple[Any, Any]:
        api: Any = EventApi(client)
        one = CreateEventRequest(key="k", data={"a": 1}, additionalMetadata={"m": "n"}, scope="s")
        bulk = BulkCreateEventRequest(events=[one, CreateEventRequest(key="j", data={})])
        return (
            api.event_create(tenant=str(TENANT), create_event_request=one),
            api.event_create_bulk(tenant=str(TENANT), bulk_create_event_request=bulk),
        )

    single, many = await site.sdk(use)
    assert (single.key, single.additional_metadata, single.tenant_id) == ("k", {"m": "n"}, str(TENANT))
    assert [event.key for event in many.events] == ["k", "j"]
    rows = (await site.http.get(f"{STABLE}/events")).json()["rows"]
    assert len(rows) == 3
    assert json.loads(json.dumps(rows[-1]["payload"])) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"key": "k"}, "data: this member of the body is required"),
        ({"key": "k", "data": [1]}, "data: Expected `object`"),
        ({"key": "k", "data": {}, "priority": 9}, "priority"),
        ({"key": "k", "data": {}, "additionalMetadata": "x"}, "additionalMetadata: Expected `object`"),
    ],
)
async def test_a_wrong_event_is_refused_by_name(site: Site, body: dict[str, Any], words: str) -> None:
    answer = await site.http.post(f"/api/v1/tenants/{TENANT}/events", json=body)
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
