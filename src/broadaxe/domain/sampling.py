"""Sampling for the dashboard: which runs have a history that can be read. It is no sampling of traces."""

from uuid import UUID

SCALE = 65_536


def threshold(rate: float) -> int:
    """The rate (0 to 1) as a number of `SCALE`."""
    return round(min(max(rate, 0.0), 1.0) * SCALE)


def kept(run_id: UUID, limit: int) -> bool:
    """Whether a run has a history under this threshold: its id's last two bytes, which are random, decide.

    Every process decides the same of a run, and SQL does too.
    """
    return run_id.int % SCALE < limit
