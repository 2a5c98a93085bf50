"""The OpenAPI document: current, complete, and the one that is served."""

import json
import re
from pathlib import Path
from typing import Any

from broadaxe.rest_api import openapi
from broadaxe.rest_api.options import RestOptions
from broadaxe.rest_api.routes import ROUTES

from .fakes import Site

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_committed_document_is_current() -> None:
    assert PAGE.read_bytes() == openapi.encode_document(RestOptions().version)


async def test_served_document_is_the_committed_one() -> None:
    async with Site().client(None) as http:
        answer = await http.get("/api/v1/openapi.json")
    assert answer.content == PAGE.read_bytes()
    assert answer.headers["content-type"] == "application/json"


def test_document_holds_every_operation_that_is_there() -> None:
    document = openapi.make_document("v1")
    shown = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert shown == {(route.method, route.path) for route in ROUTES if not route.planned}
    operations = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(set(operations)) == len(operations)


def test_document_references_resolve_and_path_parameters_are_declared() -> None:
    document = openapi.make_document("v1")
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    for path, item in document["paths"].items():
        for operation in item.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"\{([^}]+)\}", path))


def test_document_names_required_members_of_a_task() -> None:
    task: dict[str, Any] = openapi.make_document("v1")["components"]["schemas"]["V1TaskSummary"]
    assert {"metadata", "input", "output", "taskExternalId", "numSpawnedChildren"} <= set(task["required"])
    assert task["properties"]["input"] == {"type": "object", "additionalProperties": True}
