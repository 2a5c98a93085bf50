"""How much one tenant may plan."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScheduleLimits:
    """Sizes are bytes."""

    crons: int = 100_000
    scheduled: int = 1_000_000
    """Planned runs that wait."""
    bulk: int = 500
    """Planned runs that one call makes or changes."""
    payload: int = 4 * 1024 * 1024
    metadata: int = 64 * 1024
