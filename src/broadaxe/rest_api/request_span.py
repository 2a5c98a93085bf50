"""The server span of one request, its duration metric and its line in the access log."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack

from starlette.types import Scope

from broadaxe.clock import Clock
from broadaxe.rest_api.call import DurationRecorder
from broadaxe.rest_api.identity import Identity
from broadaxe.rest_api.routing import Route, Tracing
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext, parse_traceparent
from broadaxe.telemetry.tracer import NOOP, AnySpan, Tracer
from broadaxe.telemetry.vocabulary import Attr, AttrValue, Label

access_log = logging.getLogger("broadaxe.rest_api.access")


class RequestSpan:
    """Watches one request. The span is open while statements of the request should hang under it."""

    __slots__ = (
        "_attributes",
        "_clock",
        "_context",
        "_exit",
        "_headers",
        "_placed",
        "_route",
        "_scope",
        "_span",
        "_start",
        "_start_ns",
        "_tracer",
        "identity",
    )

    def __init__(self, tracer: Tracer, clock: Clock, scope: Scope, route: Route | None) -> None:
        self._tracer = tracer
        self._clock = clock
        self._scope = scope
        self._route = route
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._start = clock.monotonic()
        self._start_ns = clock.now_ns()
        self._exit = ExitStack()
        self._span: AnySpan = NOOP
        self._context: TraceContext | None = None
        self._attributes: list[tuple[Attr, AttrValue]] = []
        # What has no route is traced too; health checks are not.
        self._placed = route is not None and route.tracing is Tracing.OFF
        self.identity: Identity | None = None
        """The caller, once known."""

    @property
    def caller(self) -> TraceContext | None:
        """The caller's place in its trace, from the `traceparent` header."""
        return parse_traceparent(self.header(b"traceparent"))

    @property
    def below(self) -> TraceContext | None:
        """What a call to another process on behalf of this request hangs under: the open span. Of a request
        that is not recorded the flag says so, and then that process records nothing either."""
        if self._span.recording:
            return self._span.context
        if self._context is None:
            return self.caller
        trace_id, span_id, _ = self._context
        # Nothing is above the first span of a trace, but an all-zero id would not be read on the other side.
        return TraceContext(trace_id, span_id if any(span_id) else trace_id[:8], False)

    def header(self, name: bytes) -> str | None:
        """A header's value; `name` in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def set(self, attr: Attr, value: AttrValue) -> None:
        """Set an attribute, also before the span is open."""
        self._attributes.append((attr, value))

    def link(self, contexts: Iterable[TraceContext]) -> None:
        """Let the open span point to what the request was about."""
        for context in contexts:
            self._span.link(context)

    def place(self, parent: TraceContext | None) -> None:
        """Open the span below `parent`, or below the caller; nothing happens if it is open."""
        if self._placed:
            return
        self._placed = True
        if not self._tracer.enabled:
            return
        self._context = self._tracer.adopt(self.caller) if parent is None else parent
        name = T.http_span(self._scope["method"], self._route.path if self._route else "")
        self._span = self._tracer.start(name, self._context, start_ns=self._start_ns)
        self._exit.enter_context(self._tracer.use(self._span))

    def finish(self, durations: DurationRecorder, status: int, size: int, error: str | None) -> None:
        """The answer went out. `error` is what went wrong on this side, None for 4xx."""
        self.place(None)
        elapsed = self._clock.monotonic() - self._start
        route = self._route
        method, template = self._scope["method"], route.path if route else ""
        labels: tuple[tuple[Label, str | int], ...] = (
            (T.LABEL_HTTP_REQUEST_METHOD, method if method in _METHODS else "_OTHER"),
            (T.LABEL_HTTP_ROUTE, template),
            (T.LABEL_HTTP_RESPONSE_STATUS_CODE, status),
        )
        if error is not None:
            labels = (*labels, (T.LABEL_ERROR_TYPE, error))
        durations.record(T.METRIC_HTTP_SERVER_DURATION, elapsed, labels)
        self._log(method, template, status, size, elapsed)
        self._exit.close()
        span = self._span
        if not span.recording:
            return
        for attr, value in self._own_attributes(method, template, status):
            span.set(attr, value)
        for attr, value in self._attributes:
            span.set(attr, value)
        span.end(error_type=error)

    def _log(self, method: str, template: str, status: int, size: int, elapsed: float) -> None:
        quiet = self._route is not None and self._route.tracing is Tracing.OFF and status < 500
        level = logging.DEBUG if quiet else logging.INFO
        if not access_log.isEnabledFor(level):
            return
        client = self._scope.get("client")
        access_log.log(
            level,
            "request",
            extra={
                "method": method,
                "route": template,
                "path": self._scope["path"],
                "status": status,
                "duration_ms": round(elapsed * 1000, 3),
                "size": size,
                "client": client[0] if client else None,
                "tenant_id": None if self.identity is None else str(self.identity.tenant_id),
                "user_agent": self.header(b"user-agent"),
            },
        )

    def _own_attributes(self, method: str, template: str, status: int) -> list[tuple[Attr, AttrValue]]:
        scope = self._scope
        found: list[tuple[Attr, AttrValue]] = [
            (T.ATTR_HTTP_REQUEST_METHOD, method if method in _METHODS else "_OTHER"),
            (T.ATTR_HTTP_RESPONSE_STATUS_CODE, status),
            (T.ATTR_URL_PATH, scope["path"]),
            (T.ATTR_URL_SCHEME, scope.get("scheme", "http")),
            (T.ATTR_NETWORK_PROTOCOL_VERSION, scope.get("http_version", "1.1")),
        ]
        if template:
            found.append((T.ATTR_HTTP_ROUTE, template))
        agent = self.header(b"user-agent")
        if agent:
            found.append((T.ATTR_USER_AGENT_ORIGINAL, agent))
        client, server = scope.get("client"), scope.get("server")
        if client:
            found.append((T.ATTR_CLIENT_ADDRESS, client[0]))
        if server:
            found.append((T.ATTR_SERVER_ADDRESS, server[0]))
            if server[1] is not None:
                found.append((T.ATTR_SERVER_PORT, server[1]))
        if self.identity is not None:
            found.append((T.ATTR_TENANT_ID, str(self.identity.tenant_id)))
        return found


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
