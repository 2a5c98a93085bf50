"""Routes, and the tree that finds one by method and path.

A fixed segment wins over a `{parameter}`; where the fixed branch leads nowhere, the parameter is tried.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from broadaxe.rest_api.call import Call

Handler = Callable[[Call], Awaitable[object]]


class Access(Enum):
    """Who may call a route."""

    PUBLIC = "public"
    TOKEN = "token"
    """A valid token; a tenant in the path must be the token's."""


class Tracing(Enum):
    """How a request of a route shows in traces."""

    OFF = "off"
    AT_ONCE = "at once"
    """The span opens before the handler: statements hang under it."""
    LATE = "late"
    """The handler places the span, once it knows which trace the request belongs to."""


@dataclass(frozen=True, slots=True)
class Route:
    """An operation. `query`, `body` and `answer` are the types behind its parameters and its JSON."""

    method: str
    path: str
    operation: str
    summary: str
    tag: str
    handler: Handler
    answer: Any = None
    query: type | None = None
    body: type | None = None
    access: Access = Access.TOKEN
    tracing: Tracing = Tracing.AT_ONCE
    content_type: str = "application/json"
    """Of the answer."""
    planned: bool = False
    """Not there yet: answers 501."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to: the routes by method, and the values of its parameters in order."""

    routes: dict[str, Route]
    values: tuple[str, ...]


class RouteTree:
    """All routes. Two of the same method and shape are a `ValueError`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def find(self, path: str) -> Match | None:
        """The routes of a path, None for an unknown one."""
        return self._find(self._root, path.strip("/").split("/"), 0, ())

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.path.strip("/").split("/"):
            if part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.fixed.setdefault(part, _Node())
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.path} is there twice")
        node.routes[route.method] = route

    def _find(self, node: _Node, parts: list[str], at: int, values: tuple[str, ...]) -> Match | None:
        if at == len(parts):
            return Match(node.routes, values) if node.routes else None
        part = parts[at]
        fixed = node.fixed.get(part)
        if fixed is not None:
            found = self._find(fixed, parts, at + 1, values)
            if found is not None:
                return found
        if node.parameter is not None and part:
            return self._find(node.parameter, parts, at + 1, (*values, part))
        return None
