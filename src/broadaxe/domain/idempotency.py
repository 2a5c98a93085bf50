"""Idempotency keys: one run a key at a time, in the whole tenant."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from uuid import UUID

from broadaxe.domain.workflow import Idempotency

RESERVED_PREFIX = "hatchet_internal_"
"""Keys that begin so are the engine's own."""
COLLISION = "idempotency key collision"
"""What clients recognise a taken key by; SDKs compare the whole text."""
LONGEST_HOLD = timedelta(days=366 * 100)


class Method(IntEnum):
    """How long a key is held. Values are the wire's."""

    TTL = 0
    """For the given time from the run's start."""
    STATUS = 1
    """Until the run is final, at most for the given time."""


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The key that a new run takes."""

    key: str
    expires_at: datetime
    until_end: bool
    """Whether the run's end frees it."""


@dataclass(frozen=True, slots=True)
class Collision:
    """A run that was not started, since another holds its key."""

    existing: UUID


@dataclass(frozen=True, slots=True)
class BulkCollision:
    """The same for a bulk: `started` runs did start."""

    started: tuple[UUID, ...]
    collisions: tuple[Collision, ...]


def key_problem(key: str, limit: int) -> str | None:
    """Why a text cannot be a key, or None."""
    if not key:
        return "the key must not be empty"
    if len(key.encode("utf-8", "replace")) > limit:
        return f"the key is longer than {limit} bytes"
    if "\x00" in key:
        return "the key must not contain U+0000"
    if key.startswith(RESERVED_PREFIX):
        return f"keys that begin with {RESERVED_PREFIX} are reserved"
    return None


def claim(rule: Idempotency, key: str, now: datetime) -> KeyClaim:
    """What a run that starts now takes."""
    held = min(timedelta(milliseconds=min(rule.ttl_ms, 10**15)), LONGEST_HOLD)
    return KeyClaim(key, now + held, rule.method == Method.STATUS)


def frees_at_end(rule: Idempotency | None) -> bool:
    """Whether the end of a run of such a workflow frees a key."""
    return rule is not None and rule.method == Method.STATUS


def winners(wanted: Iterable[tuple[str, datetime, UUID]]) -> dict[str, UUID]:
    """Of the runs of one request (key, expiry, run) the one that takes each key: the one that holds it
    longest, the first of equal ones."""
    best: dict[str, tuple[datetime, UUID]] = {}
    for key, expires_at, run_id in wanted:
        known = best.get(key)
        if known is None or expires_at > known[0]:
            best[key] = (expires_at, run_id)
    return {key: run_id for key, (_, run_id) in best.items()}
