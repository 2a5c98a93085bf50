"""How long a failed task waits before its next attempt."""

import math
from datetime import datetime, timedelta

from broadaxe.domain.task import StepPolicy

MAX_WAIT = 366 * 86_400.0
"""Longest wait before a retry, in seconds, whatever a worker asks for: times must stay representable."""


def retry_delay(policy: StepPolicy, app_retries: int, retry_after: float | None) -> float:
    """Seconds to wait before retry number `app_retries` (the first is 1); 0 means at once.

    What the worker asked for wins over the step's rule `min(backoff_max, factor ** app_retries)`; without a
    factor the retry is immediate.
    """
    if retry_after is not None:
        return _bounded(retry_after, MAX_WAIT)
    if policy.backoff_factor is None:
        return 0.0
    longest = min(policy.backoff_max, MAX_WAIT)
    try:
        return _bounded(policy.backoff_factor**app_retries, longest)
    except OverflowError:  # a factor of 1000 leaves the floats after 102 retries
        return longest


def later(moment: datetime, seconds: float) -> datetime:
    """`moment` plus a number of seconds (negative ones too), held within the calendar."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        edge = datetime.max if seconds > 0 else datetime.min
        return edge.replace(tzinfo=moment.tzinfo)


def _bounded(seconds: float, longest: float) -> float:
    if math.isnan(seconds) or seconds <= 0:
        return 0.0
    return min(seconds, longest)
