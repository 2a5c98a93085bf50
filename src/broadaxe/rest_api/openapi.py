"""The OpenAPI 3.1 document, made from the table of operations and the models."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from broadaxe.rest_api.models.envelope import APIErrors
from broadaxe.rest_api.routes import ROUTES
from broadaxe.rest_api.routing import Access, Route

_REF = "#/components/schemas/{name}"
_STATUSES = {
    "400": "A parameter or the body is wrong",
    "403": "No valid credentials, or another tenant's",
    "404": "Not found",
}


def make_document(version: str, routes: Sequence[Route] = ROUTES) -> dict[str, Any]:
    """The document as JSON values. Planned operations are left out."""
    shown = [route for route in routes if not route.planned]
    answers = [route.answer for route in shown if route.answer is not None]
    bodies = [route.body for route in shown if route.body is not None]
    types = [*answers, *bodies, APIErrors]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Broadaxe", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearerAuth": []}],
    }


@cache
def encode_document(version: str) -> bytes:
    """The document of this server as indented JSON text; made once."""
    return msgspec.json.format(msgspec.json.encode(make_document(version)), indent=2) + b"\n"


def _operation(route: Route, schemas: dict[int, dict[str, Any]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if route.answer is not None:
        success["content"] = {route.content_type: {"schema": schemas[id(route.answer)]}}
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {"200": success},
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[id(route.body)]}},
        }
    if route.access is Access.PUBLIC:
        operation["security"] = []
        return operation
    error = {"application/json": {"schema": schemas[id(APIErrors)]}}
    for status, text in _STATUSES.items():
        operation["responses"][status] = {"description": text, "content": error}
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    shape = {"type": "string", "format": "uuid"}
    return [{"name": name, "in": "path", "required": True, "schema": shape} for name in route.parameters]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    # Parameters are written out where they stand: their Struct is no component of the wire.
    (schema,), components = msgspec.json.schema_components([route.query], ref_template="{name}")
    shape = components[schema["$ref"]]
    required = set(shape.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _inlined(inner, components)}
        for name, inner in shape["properties"].items()
    ]


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(part, components) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"]], components)
    return {key: _inlined(value, components) for key, value in schema.items() if key != "title"}
