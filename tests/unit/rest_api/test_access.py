"""Who is let in, and what a refusal looks like."""

import re

import pytest

from broadaxe.rest_api.routes import ROUTES
from broadaxe.rest_api.routing import Route

from .fakes import OTHER, TASK, TENANT, Site

PUBLIC = {
    "/api/ready",
    "/api/live",
    "/api/v1/version",
    "/api/v1/meta",
    "/api/v1/cloud/metadata",
    "/api/v1/openapi.json",
}


def path_of(route: Route, tenant: object = TENANT) -> str:
    return re.sub(r"\{[^}]+\}", str(TASK), route.path.replace("{tenant}", str(tenant)))


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("token", [None, "bad"])
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_every_route_without_valid_token_refused_but_public_ones(
    route: Route, token: str | None
) -> None:
    async with Site().client(token) as http:
        answer = await http.request(route.method, path_of(route))
    if route.path in PUBLIC:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403
        assert answer.json() == {"errors": [{"description": "Please provide valid credentials"}]}


@pytest.mark.parametrize("route", [r for r in ROUTES if "{tenant}" in r.path], ids=name_of)
async def test_path_of_another_tenant_refused(route: Route) -> None:
    site = Site()
    async with site.client() as http:
        answer = await http.request(route.method, path_of(route, OTHER))
    assert answer.status_code == 403
    assert site.views.asked == []
    assert site.commands.calls == []


@pytest.mark.parametrize("route", [r for r in ROUTES if r.planned], ids=name_of)
async def test_planned_route_answers_501_saying_what_is_missing(route: Route) -> None:
    async with Site().client() as http:
        answer = await http.request(route.method, path_of(route))
    assert answer.status_code == 501
    assert answer.json()["errors"][0]["description"].startswith("Not available yet: ")


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.planned and r.parameters], ids=name_of)
async def test_malformed_id_in_path_400_naming_the_parameter(route: Route) -> None:
    path = re.sub(r"\{[^}]+\}", "not-a-uuid", route.path)
    async with Site().client() as http:
        answer = await http.request(route.method, path, json={"isPaused": True})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == route.parameters[0]


async def test_unknown_path_404_and_wrong_method_405() -> None:
    async with Site().client() as http:
        unknown = await http.get("/api/v1/nothing/here")
        wrong = await http.put("/api/v1/version")
    assert unknown.status_code == 404
    assert wrong.status_code == 405
    assert "GET" in wrong.json()["errors"][0]["description"]


async def test_ready_follows_the_database_live_does_not() -> None:
    site = Site(ready=False)
    async with site.client(None) as http:
        assert (await http.get("/api/ready")).status_code == 500
        assert (await http.get("/api/live")).status_code == 200
        site.ready = True
        assert (await http.get("/api/ready")).status_code == 200
        assert (await http.head("/api/ready")).status_code == 200


def test_every_path_of_the_sdk_is_known() -> None:
    import importlib.resources

    pytest.importorskip("hatchet_sdk", reason="hatchet-sdk is not installed")
    folder = importlib.resources.files("hatchet_sdk.clients.rest.api")
    pattern = re.compile(r'method="(\w+)",\s*resource_path="([^"]+)"')
    wanted = {
        pair
        for file in folder.iterdir()
        if file.name.endswith(".py")
        for pair in pattern.findall(file.read_text())
    }
    assert len(wanted) > 100
    assert {pair for pair in wanted if pair not in {(r.method, r.path) for r in ROUTES}} == set()
