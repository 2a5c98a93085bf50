"""Requests: what is read out of them, and what goes wrong."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from broadaxe.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.rest_api.options import RestOptions
from broadaxe.views.api import RunFilter
from broadaxe.views.model import RunStatus, RunView

from .fakes import TASK, TENANT, FakeCommands, Site, task_view

RUNS = f"/api/v1/stable/tenants/{TENANT}/workflow-runs"
TASKS = f"/api/v1/stable/tenants/{TENANT}/tasks"
SINCE = "2026-01-01T00:00:00.000000Z"


async def test_run_list_filters_reach_the_read_side() -> None:
    site = Site()
    async with site.client() as http:
        answer = await http.get(
            RUNS,
            params={
                "since": SINCE, "until": "2026-01-02T00:00:00+02:00", "only_tasks": "True", "offset": 5,
                "limit": 7, "statuses": ["FAILED", "QUEUED"], "workflow_ids": [str(TASK)],
                "worker_id": str(TASK), "additional_metadata": ["a:b:c", "d:"],
                "additional_metadata_operator": "AND", "parent_task_external_id": str(TASK),
                "triggering_event_external_id": str(TASK), "include_payloads": "false",
                "include_num_pages": "0", "unknown": "ignored",
            },
        )  # fmt: skip
    assert answer.status_code == 200, answer.text
    (_, (tenant, where, offset, limit, more)) = site.views.asked[0]
    assert (tenant, offset, limit, more) == (
        TENANT,
        5,
        7,
        {"payloads": False, "total": False, "only_tasks": True},
    )
    assert where == RunFilter(
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 1, 1, 22, tzinfo=UTC),
        statuses=(RunStatus.FAILED, RunStatus.QUEUED),
        workflow_ids=(TASK,),
        worker_id=TASK,
        metadata=(("a", "b:c"), ("d", "")),
        match_all=True,
        parent_task_id=TASK,
        event_id=TASK,
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"since": None}, "since"),
        ({"only_tasks": None}, "only_tasks"),
        ({"since": "yesterday"}, "since"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"statuses": ["QUEUED", "EVICTED"]}, "statuses"),
        ({"workflow_ids": ["x"]}, "workflow_ids"),
        ({"worker_id": ""}, "worker_id"),
        ({"additional_metadata": ["novalue"]}, "additional_metadata"),
        ({"additional_metadata": ["a:\0"]}, "additional_metadata"),
        ({"additional_metadata_operator": "XOR"}, "additional_metadata_operator"),
        ({"include_payloads": "perhaps"}, "include_payloads"),
        ({"running_filter": "SOME"}, "running_filter"),
    ],
)
async def test_run_list_bad_value_400_naming_the_parameter(changes: dict[str, Any], name: str) -> None:
    params: dict[str, Any] = {"since": SINCE, "only_tasks": "false", **changes}
    async with Site().client() as http:
        answer = await http.get(RUNS, params={k: v for k, v in params.items() if v is not None})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == name
    assert name in error["description"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("x"), 400),
        (NotFound("workflow x"), 404),
        (AlreadyExists("x"), 409),
        (FailedPrecondition("x"), 409),
        (ResourceExhausted("x"), 429),
        (Unimplemented("x"), 501),
        (Unavailable("x"), 503),
    ],
)
async def test_known_error_its_status_and_text(error: Any, status: int) -> None:
    site = Site(commands=FakeCommands(error=error))
    async with site.client() as http:
        answer = await http.post(f"{RUNS}/trigger", json={"workflowName": "w", "input": {}})
    assert answer.status_code == status
    assert answer.json() == {"errors": [{"description": error.message}]}


async def test_unexpected_error_500_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(commands=FakeCommands(error=ZeroDivisionError("secret")))
    async with site.client() as http:
        answer = await http.post(f"{RUNS}/trigger", json={"workflowName": "w", "input": {}})
    assert answer.status_code == 500
    assert answer.json() == {"errors": [{"description": "Internal error"}]}
    assert "secret" in caplog.text


async def test_slow_request_504() -> None:
    site = Site(options=RestOptions(request_timeout=0.01))
    site.views.before = asyncio.Event().wait
    async with site.client() as http:
        answer = await http.get(RUNS, params={"since": SINCE, "only_tasks": "false"})
    assert answer.status_code == 504


@pytest.mark.parametrize("declared", [True, False])
async def test_too_long_body_413(declared: bool) -> None:
    site = Site(options=RestOptions(body_limit=100))

    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 50

    async with site.client() as http:
        content: Any = b" " * 150 if declared else chunks()
        answer = await http.post(f"{RUNS}/trigger", content=content)
    assert answer.status_code == 413
    assert site.commands.calls == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", None),
        (b"\xff", None),
        (b'{"input": {}}', "workflowName"),
        (b'{"workflowName": "w", "input": 5}', "input"),
        (b'{"workflowName": "w", "input": {}, "priority": 4}', "priority"),
        (b'{"workflowName": "w", "input": {}, "additionalMetadata": []}', "additionalMetadata"),
        (b'{"workflowName": "w", "input": {"a": "\xff"}}', "input"),
    ],
)
async def test_trigger_bad_body_400_naming_the_member(body: bytes, field: str | None) -> None:
    site = Site()
    async with site.client() as http:
        answer = await http.post(f"{RUNS}/trigger", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0].get("field") == field
    assert site.commands.calls == []


async def test_trigger_passes_payloads_byte_for_byte() -> None:
    site = Site()
    task = task_view(input=b'{"a" :1.0}')
    site.views.run = RunView(task, (task,), (), (), WorkflowDefinition("w", ()))
    body = (
        b'{"workflowName": "w", "input": {"a" :1.0,  "b":1e2}, '
        b'"additionalMetadata": {"k": "v"}, "priority": 2}'
    )
    async with site.client() as http:
        answer = await http.post(f"{RUNS}/trigger", content=body)
    ((_, trigger),) = site.commands.calls
    assert (trigger.input, trigger.metadata, trigger.priority) == (
        b'{"a" :1.0,  "b":1e2}',
        b'{"k": "v"}',
        2,
    )
    assert b'"input":{"input":{"a" :1.0}}' in answer.content


async def test_trigger_run_never_visible_503() -> None:
    site = Site(options=RestOptions(visible_timeout=0.0))
    async with site.client() as http:
        answer = await http.post(f"{RUNS}/trigger", json={"workflowName": "w", "input": {}})
    assert answer.status_code == 503
    assert str(TASK) in answer.text


@pytest.mark.parametrize("action", ["cancel", "replay"])
async def test_bulk_change_by_ids_once_each(action: str) -> None:
    site = Site()
    async with site.client() as http:
        answer = await http.post(f"{TASKS}/{action}", json={"externalIds": [str(TASK), str(TASK)]})
    assert answer.json() == {"ids": [str(TASK)]}
    assert site.commands.calls == [(action, [TASK])]


@pytest.mark.parametrize("action", ["cancel", "replay"])
async def test_bulk_change_by_filter_what_lists_show(action: str) -> None:
    site = Site()
    site.views.tasks = [task_view(id=msgspec.convert(f"01938d2a-0000-7000-8000-{n:012d}", type=type(TASK)))
                        for n in range(1200)]  # fmt: skip
    where = {"since": SINCE, "statuses": ["FAILED"], "additionalMetadata": ["a:b"]}
    async with site.client() as http:
        answer = await http.post(f"{TASKS}/{action}", json={"filter": where})
    assert len(answer.json()["ids"]) == 1200
    assert [len(ids) for _, ids in site.commands.calls] == [500, 500, 200]
    (_, (_, asked)) = site.views.asked[0]
    assert asked == RunFilter(
        since=datetime(2026, 1, 1, tzinfo=UTC), statuses=(RunStatus.FAILED,), metadata=(("a", "b"),)
    )


@pytest.mark.parametrize("body", [{}, {"externalIds": [str(TASK)], "filter": {"since": SINCE}}])
async def test_bulk_change_ids_xor_filter(body: dict[str, Any]) -> None:
    async with Site().client() as http:
        answer = await http.post(f"{TASKS}/cancel", json=body)
    assert answer.status_code == 400


async def test_cors_named_origin_only() -> None:
    site = Site(options=RestOptions(allowed_origins=("https://*.example.com", "http://localhost:*")))
    async with site.client() as http:
        for origin, expected in (
            ("https://app.example.com", True),
            ("http://localhost:5173", True),
            ("https://example.com.evil.org", False),
            ("https://evil.org/.example.com", False),
        ):
            answer = await http.get("/api/v1/version", headers={"origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is expected
        asked = {"origin": "https://app.example.com", "access-control-request-method": "PATCH"}
        assert (await http.options("/api/v1/workers/x", headers=asked)).status_code == 200


async def test_access_log_one_line_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "broadaxe.rest_api.access"):
        async with Site().client() as http:
            await http.get("/api/live")
            await http.get(f"/api/v1/workers/{TASK}")
    (line,) = caplog.records
    values = vars(line)
    assert (values["method"], values["route"], values["status"]) == ("GET", "/api/v1/workers/{worker}", 404)
    assert values["tenant_id"] == str(TENANT)


async def test_broken_payload_does_not_break_the_list() -> None:
    site = Site()
    outputs = (b"[1]", b"not json", b"\xff", b'{"a":', b'"text"', b"null", b"")
    site.views.tasks = [replace(task_view(), output=output) for output in outputs]
    async with site.client() as http:
        answer = await http.get(RUNS, params={"since": SINCE, "only_tasks": "false"})
    rows = json.loads(answer.content)["rows"]
    assert [row["output"] for row in rows] == [
        {"value": [1]}, {"value": "not json"}, {"value": "\ufffd"}, {"value": '{"a":'}, {"value": "text"},
        {"value": None}, {},
    ]  # fmt: skip
