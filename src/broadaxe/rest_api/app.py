"""The ASGI application: finds the operation, lets the caller in or not, runs the handler, answers."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from broadaxe.clock import Clock
from broadaxe.domain.errors import BroadaxeError
from broadaxe.expr.evaluator import Evaluator
from broadaxe.rest_api.call import Answer, Call, DurationRecorder, Services
from broadaxe.rest_api.commands import Commands
from broadaxe.rest_api.decoding import decode_path_id
from broadaxe.rest_api.identity import Authenticator, Identity
from broadaxe.rest_api.openapi import encode_document
from broadaxe.rest_api.options import RestOptions
from broadaxe.rest_api.problems import BAD_CREDENTIALS, Refusal, refusal_of
from broadaxe.rest_api.request_span import RequestSpan
from broadaxe.rest_api.routes import ROUTES
from broadaxe.rest_api.routing import Access, Match, Route, RouteTree, Tracing
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.api import Views

log = logging.getLogger("broadaxe.rest_api")

CLIENT_GONE = 499
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HEADERS = ("authorization", "content-type", "traceparent", "tracestate")


class _ClientGone(Exception):
    """The caller hung up before its request was whole."""


class RestApp:
    """The API. Everything that is not in the public part of the table needs a valid token."""

    def __init__(
        self,
        services: Services,
        tracer: Tracer,
        durations: DurationRecorder,
        routes: Sequence[Route] = ROUTES,
    ) -> None:
        self._services = services
        self._tracer = tracer
        self._durations = durations
        self._tree = RouteTree(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected ASGI scope {scope['type']}")
        match = self._tree.find(scope["path"])
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = None if match is None else match.routes.get(method)
        span = RequestSpan(self._tracer, self._services.clock, scope, route)
        error: str | None = None
        try:
            answer = await self._bounded(match, route, span, scope, receive)
        except _ClientGone:
            span.finish(self._durations, CLIENT_GONE, 0, None)
            return
        except Refusal as refusal:
            answer = Answer(refusal.body(), refusal.status)
        except BroadaxeError as cause:
            known = refusal_of(cause)
            answer = Answer(known.body(), known.status)
        except Exception as cause:
            log.exception("request failed", extra={"method": scope["method"], "path": scope["path"]})
            answer = Answer(Refusal(500, "Internal error").body(), 500)
            error = type(cause).__name__
        if answer.status >= 500 and error is None:
            error = str(answer.status)
        try:
            await _send(send, answer)
        finally:
            span.finish(self._durations, answer.status, len(answer.body), error)

    async def _bounded(
        self, match: Match | None, route: Route | None, span: RequestSpan, scope: Scope, receive: Receive
    ) -> Answer:
        limit = self._services.options.request_timeout
        try:
            async with asyncio.timeout(limit) as bound:
                return await self._serve(match, route, span, scope, receive)
        except TimeoutError:
            if not bound.expired():
                raise
            raise Refusal(504, f"The request took longer than {limit:g} seconds") from None

    async def _serve(
        self, match: Match | None, route: Route | None, span: RequestSpan, scope: Scope, receive: Receive
    ) -> Answer:
        if match is None:
            raise Refusal(404, "No such path")
        if route is None:
            raise Refusal(405, f"{scope['method']} is not possible here: {', '.join(sorted(match.routes))}")
        if route.tracing is Tracing.AT_ONCE:
            span.place(None)
        path = dict(zip(route.parameters, match.values, strict=True))
        identity = await self._admit(route, path, span)
        body = b"" if route.body is None else await self._read_body(span, receive)
        call = Call(
            summary=route.summary,
            path=path,
            raw_query=scope.get("query_string", b""),
            body=body,
            identity=identity,
            services=self._services,
            span=span,
        )
        found = await route.handler(call)
        return found if isinstance(found, Answer) else Answer(msgspec.json.encode(found))

    async def _admit(self, route: Route, path: dict[str, str], span: RequestSpan) -> Identity | None:
        if route.access is Access.PUBLIC:
            return None
        authorization = span.header(b"authorization")
        if not authorization:
            raise Refusal(403, BAD_CREDENTIALS)
        identity = await self._services.authenticator.authenticate(authorization)
        span.identity = identity
        if "tenant" in path:
            tenant: UUID = decode_path_id("tenant", path["tenant"])
            if tenant != identity.tenant_id:
                raise Refusal(403, "This token is not for that tenant")
        return identity

    async def _read_body(self, span: RequestSpan, receive: Receive) -> bytes:
        limit = self._services.options.body_limit
        declared = span.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise Refusal(413, f"The body is longer than {limit} bytes")
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise Refusal(413, f"The body is longer than {limit} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


async def _send(send: Send, answer: Answer) -> None:
    headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if answer.body:
        headers.append((b"content-type", answer.content_type.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def build_app(
    views: Views,
    commands: Commands,
    authenticator: Authenticator,
    clock: Clock,
    tracer: Tracer,
    durations: DurationRecorder,
    ready: Callable[[], bool],
    options: RestOptions | None = None,
    evaluator: Evaluator | None = None,
) -> ASGIApp:
    """The application with everything it needs. `ready` says whether the database is there."""
    chosen = options or RestOptions()
    services = Services(
        views,
        commands,
        evaluator or Evaluator(),
        authenticator,
        clock,
        chosen,
        ready,
        partial(encode_document, chosen.version),
    )
    app: ASGIApp = RestApp(services, tracer, durations)
    return _with_cors(app, chosen.allowed_origins)


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    if not origins:
        return app
    everyone = "*" in origins
    patterns = "|".join(re.escape(origin).replace(r"\*", "[A-Za-z0-9.-]*") for origin in origins)
    return CORSMiddleware(
        app,
        allow_origins=("*",) if everyone else (),
        allow_origin_regex=None if everyone else patterns,
        allow_methods=_METHODS,
        allow_headers=_HEADERS,
        # Cookies only for origins that were named: a wildcard must not let any page act as its visitor.
        allow_credentials=not everyone,
        max_age=600,
    )
