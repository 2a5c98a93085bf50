"""From what a handler raises to the status its client sees."""

from collections.abc import Callable, Mapping

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from broadaxe.domain.errors import (
    AlreadyExists,
    BroadaxeError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from broadaxe.grpc_api.call import Code, RpcError

INTERNAL_MESSAGE = "An internal error occurred."
"""All a client learns of an error that nobody foresaw."""

CODES: Mapping[type[BroadaxeError], Code] = {
    InvalidArgument: Code.INVALID_ARGUMENT,
    NotFound: Code.NOT_FOUND,
    AlreadyExists: Code.ALREADY_EXISTS,
    FailedPrecondition: Code.FAILED_PRECONDITION,
    ResourceExhausted: Code.RESOURCE_EXHAUSTED,
    Unavailable: Code.UNAVAILABLE,
    Unimplemented: Code.UNIMPLEMENTED,
    Unauthenticated: Code.UNAUTHENTICATED,
}

SERVER_FAULTS = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""Codes that mark a call's span as failed; the others are the client's doing."""

DetailEncoder = Callable[[object], Message | None]
"""Turns the `detail` of an `AlreadyExists` into the message that a client understands."""


def message_detail(detail: object) -> Message | None:
    """The detail itself where it is a message already, else nothing."""
    return detail if isinstance(detail, Message) else None


def foreseen(error: Exception, encode_detail: DetailEncoder = message_detail) -> RpcError | None:
    """The status for an error that is meant for a caller; None for any other, which is `INTERNAL`."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, TimeoutError):
        return RpcError(Code.DEADLINE_EXCEEDED, "deadline exceeded")
    for kind in type(error).__mro__:
        code = CODES.get(kind)
        if code is not None and isinstance(error, BroadaxeError):
            detail = encode_detail(error.detail) if isinstance(error, AlreadyExists) else None
            return RpcError(code, error.message, detail)
    return None


def status_details(error: RpcError) -> bytes | None:
    """The value of the trailer `grpc-status-details-bin`; None for an error without details."""
    if error.details is None:
        return None
    detail = AnyMessage()
    detail.Pack(error.details)
    encoded: bytes = Status(code=error.code, message=error.message, details=[detail]).SerializeToString()
    return encoded
