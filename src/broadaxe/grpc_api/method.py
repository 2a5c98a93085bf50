"""The table of methods: what a servicer registers, and what a transport serves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from broadaxe.domain.errors import Unimplemented
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.rate_limit import RateGroup

# A request's class differs from method to method and comes from the service's description, so the table
# cannot know it; servicers type their own handlers.
Handler = Callable[[Any, Call], Any]
SingleHandler = Callable[[Any, Call], Awaitable[Message]]
"""Answers with one message. The request is a message, or an async iterator of them."""
StreamHandler = Callable[[Any, Call], AsyncIterator[Message]]
"""Answers with any number of messages, usually as an async generator."""


class Kind(Enum):
    """Which sides of a call are streams."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)

    @property
    def streams_in(self) -> bool:
        """The client sends any number of messages."""
        return self.value[0]

    @property
    def streams_out(self) -> bool:
        """The server sends any number of messages."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service and the handler behind it."""

    service: str
    """With its package, such as `v1.AdminService`."""
    name: str
    kind: Kind
    request_class: type[Message]
    response_class: type[Message]
    handler: Handler
    """A `SingleHandler` or a `StreamHandler`, as `kind` says."""
    rate_group: RateGroup | None
    """None: anyone may call, without a token and without a limit."""
    placed: bool = False
    """Its handler chooses what its span hangs under, which it knows late: the span is recorded at the end,
    with nothing below it. Spans of other methods are open meanwhile, with their statements below."""
    traced: bool = True
    """False for calls too frequent and too dull for a span; metrics count them all the same."""

    full_name: str = field(init=False)
    """As on the wire, such as `/v1.AdminService/PutWorkflow`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "full_name", f"/{self.service}/{self.name}")


class Servicer(Protocol):
    """Whoever has methods to serve."""

    def methods(self) -> list[Method]:
        """The servicer's part of the table, usually made by `service_methods`."""


def service_methods(
    service: ServiceDescriptor,
    handlers: Mapping[str, Handler],
    rate_group: RateGroup | None,
    *,
    placed: frozenset[str] = frozenset(),
    untraced: frozenset[str] = frozenset(),
    missing: str = "is not available on this server",
) -> list[Method]:
    """The table of a whole service.

    `handlers` maps method names to handlers; a method of the service without one answers UNIMPLEMENTED with
    its name and the text `missing`. Raises ValueError for a name that the service does not have.
    """
    unknown = (set(handlers) | placed | untraced) - set(service.methods_by_name)
    if unknown:
        raise ValueError(f"{service.full_name} has no {', '.join(sorted(unknown))}")
    return [
        _method(service, described, handlers.get(described.name), rate_group, placed, untraced, missing)
        for described in service.methods
    ]


def _method(
    service: ServiceDescriptor,
    described: MethodDescriptor,
    handler: Handler | None,
    rate_group: RateGroup | None,
    placed: frozenset[str],
    untraced: frozenset[str],
    missing: str,
) -> Method:
    kind = Kind((described.client_streaming, described.server_streaming))
    if handler is None:
        text = f"{described.name} {missing}"
        handler = _refuse_stream(text) if kind.streams_out else _refuse(text)
    return Method(
        service=service.full_name,
        name=described.name,
        kind=kind,
        request_class=GetMessageClass(described.input_type),
        response_class=GetMessageClass(described.output_type),
        handler=handler,
        rate_group=rate_group,
        placed=described.name in placed,
        traced=described.name not in untraced,
    )


def _refuse(text: str) -> SingleHandler:
    async def refuse(request: object, call: Call) -> Message:
        raise Unimplemented(text)

    return refuse


def _refuse_stream(text: str) -> StreamHandler:
    def refuse(request: object, call: Call) -> AsyncIterator[Message]:
        return _RefusedStream(text)

    return refuse


class _RefusedStream:
    """A stream whose first message is its refusal."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __aiter__(self) -> "_RefusedStream":
        return self

    async def __anext__(self) -> Message:
        raise Unimplemented(self._text)
