"""Finding a route by its path."""

import pytest

from broadaxe.rest_api.handlers.server import get_live
from broadaxe.rest_api.routing import Route, RouteTree


def route(method: str, path: str) -> Route:
    return Route(method, path, path, "", "", get_live)


def test_fixed_segment_wins_and_falls_back_to_the_parameter() -> None:
    tree = RouteTree([route("GET", "/w/crons"), route("GET", "/w/{name}"), route("POST", "/w/{name}/crons")])
    found = {path: tree.find(path) for path in ("/w/crons", "/w/other", "/w/crons/crons", "/w", "/w//crons")}
    paths = {path: None if m is None else (*m.routes.values(),)[0].path for path, m in found.items()}
    assert paths == {
        "/w/crons": "/w/crons",
        "/w/other": "/w/{name}",
        "/w/crons/crons": "/w/{name}/crons",
        "/w": None,
        "/w//crons": None,
    }
    last = found["/w/crons/crons"]
    assert last is not None
    assert last.values == ("crons",)


def test_same_route_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        RouteTree([route("GET", "/a/{b}"), route("GET", "/a/{c}")])
