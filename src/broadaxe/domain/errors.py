"""Errors that callers can act upon. The API rooms map each class to one gRPC code and one HTTP status."""


class BroadaxeError(Exception):
    """Base of every error that is meant for a caller; `message` is safe to show."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(BroadaxeError):
    """The request is wrong and will stay wrong; the message names the field."""


class NotFound(BroadaxeError):
    """What was asked for does not exist for this tenant."""


class AlreadyExists(BroadaxeError):
    """What should be made is there already; `detail` may hold an object that says which."""

    def __init__(self, message: str, detail: object | None = None) -> None:
        super().__init__(message)
        self.detail = detail


class FailedPrecondition(BroadaxeError):
    """The request is right, but not in the present state (a worker without an open session, say)."""


class ResourceExhausted(BroadaxeError):
    """A limit was reached: rate, queue depth, held bytes."""


class Unavailable(BroadaxeError):
    """The database is away or this process does not schedule the tenant; try again."""


class Unimplemented(BroadaxeError):
    """The feature is not there; the message says what is missing."""


class Unauthenticated(BroadaxeError):
    """No valid credentials."""
