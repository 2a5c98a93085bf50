"""One request on its way through a handler, and the services that handlers use."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from broadaxe.clock import Clock
from broadaxe.domain.ids import TenantId
from broadaxe.expr.evaluator import Evaluator
from broadaxe.rest_api.commands import Commands
from broadaxe.rest_api.decoding import decode_body, decode_path_id, decode_query
from broadaxe.rest_api.identity import Authenticator, Identity
from broadaxe.rest_api.options import RestOptions
from broadaxe.rest_api.problems import BAD_CREDENTIALS, Refusal
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.vocabulary import Attr, AttrValue, Label, Metric
from broadaxe.views.api import Views

T = TypeVar("T")


class DurationRecorder(Protocol):
    """The metrics that requests are measured with."""

    def record(self, metric: Metric, value: float, labels: tuple[tuple[Label, str | int], ...]) -> None: ...


class Traced(Protocol):
    """The request's span as handlers see it."""

    @property
    def caller(self) -> TraceContext | None:
        """The caller's place in its trace, from the `traceparent` header."""

    @property
    def below(self) -> TraceContext | None:
        """The place below the request's span, for calls to another process."""

    def place(self, parent: TraceContext | None) -> None:
        """Open the span below `parent`, or below the caller; nothing happens if it is open."""

    def link(self, contexts: Iterable[TraceContext]) -> None:
        """Let the open span point to what the request was about."""

    def set(self, attr: Attr, value: AttrValue) -> None:
        """Set an attribute."""


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    views: Views
    commands: Commands
    evaluator: Evaluator
    authenticator: Authenticator
    clock: Clock
    options: RestOptions
    ready: Callable[[], bool]
    """Whether requests can be served now: the database is there."""
    document: Callable[[], bytes]
    """The OpenAPI document."""


@dataclass(slots=True)
class Call:
    """A request that was let in."""

    summary: str
    """What the operation does, as the OpenAPI document says it."""
    path: dict[str, str]
    raw_query: bytes
    body: bytes
    identity: Identity | None
    services: Services
    span: Traced

    @property
    def views(self) -> Views:
        """The read side."""
        return self.services.views

    @property
    def tenant_id(self) -> TenantId:
        """The token's tenant."""
        if self.identity is None:
            raise Refusal(403, BAD_CREDENTIALS)
        return self.identity.tenant_id

    def id(self, name: str) -> UUID:
        """An id of the path; 400 naming the parameter for anything else."""
        return decode_path_id(name, self.path[name])

    def query(self, shape: type[T]) -> T:
        """The query's parameters; 400 naming the wrong one."""
        return decode_query(self.raw_query, shape)

    def json(self, shape: type[T]) -> T:
        """The body; 400 naming the wrong member."""
        return decode_body(self.body, shape)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not plain 200 with JSON."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
