"""Refusals: what went wrong, as a status and an error body. Nothing internal reaches a caller."""

import msgspec

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
from broadaxe.rest_api.models.envelope import APIError, APIErrors

BAD_CREDENTIALS = "Please provide valid credentials"

_STATUS: dict[type[BroadaxeError], int] = {
    InvalidArgument: 400,
    NotFound: 404,
    AlreadyExists: 409,
    FailedPrecondition: 409,
    ResourceExhausted: 429,
    Unavailable: 503,
    Unimplemented: 501,
    # Not 401: SDKs and the dashboard expect 403 for missing and bad credentials alike.
    Unauthenticated: 403,
}


class Refusal(Exception):
    """A request that is refused with this status; `field` names the parameter or member at fault."""

    def __init__(self, status: int, description: str, field: str | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.field = field

    def body(self) -> bytes:
        """The error body."""
        error = APIError(description=self.description, field=self.field)
        return msgspec.json.encode(APIErrors(errors=[error]))


def refusal_of(error: BroadaxeError) -> Refusal:
    """The HTTP side of an error that is meant for a caller."""
    for kind in type(error).__mro__:
        status = _STATUS.get(kind)
        if status is not None:
            text = BAD_CREDENTIALS if status == 403 else error.message
            return Refusal(status, text)
    return Refusal(500, "Internal error")


def not_found(what: str) -> Refusal:
    """404 for a resource that does not exist for this tenant."""
    return Refusal(404, f"{what} not found")
