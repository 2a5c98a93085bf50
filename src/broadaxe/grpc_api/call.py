"""The seam between servicers and whatever carries gRPC: one call, its status codes and its refusal.

Nothing here, and nothing in a servicer, knows which transport is below.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import NoReturn
from uuid import UUID

from google.protobuf.message import Message

from broadaxe.domain.ids import TenantId
from broadaxe.telemetry.context import TraceContext, parse_traceparent
from broadaxe.telemetry.encode import Pair
from broadaxe.telemetry.tracer import AnySpan

_EMPTY: Mapping[str, str | bytes] = {}
_KEY = re.compile(r"[0-9a-z_.\-]+").fullmatch
_VALUE = re.compile(r"[\x20-\x7e]*").fullmatch

Metadata = tuple[tuple[str, str | bytes], ...]
"""Keys and values in order; bytes where the key ends in `-bin`."""


class Code(IntEnum):
    """gRPC's status codes."""

    __hash__ = int.__hash__  # an enum's own is a function in Python

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """Ends a call with a status other than OK.

    `details`, when given, reaches the client as the one detail of a `google.rpc.Status`.
    """

    def __init__(self, code: Code, message: str, details: Message | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Call:
    """One call as its handler sees it.

    A handler whose client goes away, or whose deadline passes, is cancelled: `asyncio.CancelledError` at its
    present await, and `cancelled` is set once it has let go. Handlers of streams also watch `closing`.
    """

    __slots__ = (
        "_caller",
        "_parent",
        "_when_open",
        "attributes",
        "cancelled",
        "closing",
        "deadline",
        "initial_metadata",
        "metadata",
        "method",
        "peer",
        "span",
        "tenant",
        "token_id",
        "traced",
        "trailing_metadata",
    )

    def __init__(
        self,
        method: str,
        metadata: Mapping[str, str | bytes] = _EMPTY,
        *,
        deadline: float | None = None,
        peer: str = "",
        closing: asyncio.Event | None = None,
    ) -> None:
        self.method = method
        """The full name, such as `/v1.AdminService/PutWorkflow`."""
        self.metadata = metadata
        """What the client sent: the first value of each lower-case key, bytes where it ends in `-bin`."""
        self.deadline = deadline
        """On the monotonic clock, in seconds; None when the client set none."""
        self.peer = peer
        """The client's address as the transport writes it, for logs."""
        self.closing = closing if closing is not None else asyncio.Event()
        """Set when the server begins to stop: a stream's handler should return soon, and its client then sees
        the stream end with OK. Unary calls are served to their end."""
        self.cancelled = False
        """The call ended because the client no longer waits for an answer."""
        self.tenant: TenantId | None = None
        """Whose call it is; set once the token has been accepted, so always there for a handler."""
        self.token_id: UUID | None = None
        """Which token the call came with."""
        self.attributes: list[Pair] = []
        """What the call's span is to carry beyond what every one has."""
        self.traced = True
        """Whether the call gets a span; a handler may say that it deserves none."""
        self.span: AnySpan | None = None
        """The call's span where it is open during the call; None where it is recorded at its end."""
        self.initial_metadata: Metadata = ()
        """What goes to the client before the first message; see `add_initial_metadata`."""
        self.trailing_metadata: Metadata = ()
        """What goes to the client with the status; see `add_trailing_metadata`."""
        self._caller: TraceContext | None = None
        self._parent: TraceContext | None = None
        self._when_open: Callable[[], None] | None = None

    @property
    def tenant_id(self) -> TenantId:
        """The tenant, for handlers; refuses the call when nobody has been authenticated."""
        if self.tenant is None:
            self.abort(Code.UNAUTHENTICATED, "invalid auth token")
        return self.tenant

    @property
    def caller(self) -> TraceContext | None:
        """The caller's place in its trace, from the metadata `traceparent`; None without a valid one."""
        if self._caller is None:
            text = self.metadata.get("traceparent")
            if isinstance(text, str):
                self._caller = parse_traceparent(text)
        return self._caller

    @property
    def parent(self) -> TraceContext | None:
        """What the handler chose as the parent of the call's own span, if it did."""
        return self._parent

    def trace_parent(self, context: TraceContext | None) -> None:
        """Hang the call's span under this place instead of under the caller's. The span is recorded when the
        call ends (of a stream: when it is open), so the handler may choose once it knows the run."""
        self._parent = context

    def link(self, contexts: Iterable[TraceContext]) -> None:
        """Let the call's span point to what it was about, where it is open."""
        if self.span is not None:
            for context in contexts:
                self.span.link(context)

    def opened(self) -> None:
        """Say that a stream is established. Its span ends here, at its first message or at its end, whichever
        comes first."""
        when_open, self._when_open = self._when_open, None
        if when_open is not None:
            when_open()

    def on_open(self, when_open: Callable[[], None]) -> None:
        """What `opened` is to do, once; set by the machinery around the handler."""
        self._when_open = when_open

    def add_initial_metadata(self, key: str, value: str | bytes) -> None:
        """Send this before the first message, once there is one or the call ends. What a handler adds after
        its first message never goes out. Raises ValueError for what HTTP/2 or gRPC cannot carry."""
        self.initial_metadata += (_checked(key, value),)

    def add_trailing_metadata(self, key: str, value: str | bytes) -> None:
        """Send this with the handler's status, whichever it is; a status from outside of it, such as that of
        a deadline, goes alone. Raises ValueError as `add_initial_metadata` does."""
        self.trailing_metadata += (_checked(key, value),)

    def abort(self, code: Code, message: str, details: Message | None = None) -> NoReturn:
        """End the call with this status."""
        raise RpcError(code, message, details)


def _checked(key: str, value: str | bytes) -> tuple[str, str | bytes]:
    if not _KEY(key) or key.startswith("grpc-"):
        raise ValueError(f"{key!r} cannot be a key of metadata")
    if key.endswith("-bin") != isinstance(value, bytes):
        raise ValueError(f"{key}: values are bytes where the key ends in -bin, else text")
    if isinstance(value, str) and not _VALUE(value):
        raise ValueError(f"{key}: the text has more than printable ASCII in it")
    return key, value
