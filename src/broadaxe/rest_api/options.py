"""The limits and facts of the HTTP API that settings decide."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestOptions:
    """Settings of the room. Times are seconds, sizes bytes."""

    version: str = "v0.111.0"
    """What `/api/v1/version` answers; SDKs turn features on by it."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that browsers may call from; `*` stands for any part of a host."""
    body_limit: int = 5 * 1024 * 1024
    """Longest body. A payload of 4 MiB and what surrounds it fit in."""
    request_timeout: float = 30.0
    """A request is ended after it with 504."""
    visible_timeout: float = 10.0
    """How long a trigger waits until its run can be read."""
    auth_schemes: tuple[str, ...] = ()
    """Ways for people to log in."""
    allow_signup: bool = False
    allow_invites: bool = False
    allow_create_tenant: bool = False
    allow_change_password: bool = False
    observability_enabled: bool = False
