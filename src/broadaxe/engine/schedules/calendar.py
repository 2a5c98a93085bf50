"""The times of cron expressions, by cronsim, in the time zone that the expression names, else in UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from broadaxe.domain.cron_syntax import ALIASES, cron_problem, split_zone

_KEPT = 16_384


class CronCalendar:
    """A `domain.schedule.Calendar`. Times are UTC. ValueError for what `expression_problem` would refuse."""

    __slots__ = ("_fields", "_zone", "expression")

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._zone, self._fields = _read(expression)

    def after(self, at: datetime) -> datetime | None:
        """The first time after this moment."""
        return _after(self.expression, at)

    def before(self, at: datetime) -> datetime | None:
        """The last time before this moment."""
        # In a doubled hour the library, told to go back, may answer with the other one of two equal wall
        # times: so go back to where nothing is doubled, and forward from there.
        low: datetime | None = None
        step = timedelta(hours=3)
        while low is None:
            start = at - step
            if start.year < at.year - 50:
                return None
            found = next(self._times(start), None)
            if found is not None and found < at:
                low = found
            step *= 4
        return self._last(low, at)

    def _last(self, low: datetime, at: datetime) -> datetime:
        """The last time before `at`, which is `low` or later: halves the span until it is short."""
        high = at
        while high - low > timedelta(hours=1):
            middle = low + (high - low) / 2
            found = next(self._times(middle), None)
            if found is not None and found < at:
                low = found
            else:
                high = middle
        for found in self._times(low):
            if found >= at:
                break
            low = found
        return low

    def _times(self, at: datetime) -> "CronTimes":
        return CronTimes(self._fields, self._zone, at)


class CronTimes:
    """The times after a moment, one after the other. Each is later than the one before, also where clocks are
    put back."""

    def __init__(self, fields: str, zone: ZoneInfo | None, at: datetime) -> None:
        self._fields = fields
        self._zone = zone
        self._last = at.astimezone(UTC)
        self._times = _simulate(fields, zone, self._last)

    def __iter__(self) -> "CronTimes":
        return self

    def __next__(self) -> datetime:
        while True:
            try:
                found = next(self._times).astimezone(UTC)
            except OverflowError:
                raise StopIteration from None
            if found > self._last:
                self._last = self._not_leapt_over(found)
                return self._last

    def _not_leapt_over(self, found: datetime) -> datetime:
        """The library walks in whole hours and leaps over times where clocks change by half of one (Lord Howe
        Island). Seen from behind the change it does not.
        """
        if self._zone is None:
            return found
        before, after = (at.astimezone(self._zone).utcoffset() for at in (self._last, found))
        if before is None or after is None or not (after - before) % timedelta(hours=1):
            return found
        seen = [next(_simulate(self._fields, self._zone, found - step), found) for step in _LOOKS]
        return min(at for at in (found, *(one.astimezone(UTC) for one in seen)) if at > self._last)


_LOOKS = tuple(timedelta(minutes=10 * count) for count in range(1, 13))


def _simulate(fields: str, zone: ZoneInfo | None, at: datetime) -> CronSim:
    return CronSim(fields, at if zone is None else at.astimezone(zone))


def expression_problem(expression: str) -> str | None:
    """Why a text cannot be a cron's expression, or None: notation, time zone, and whether it ever is due."""
    problem = cron_problem(expression)
    if problem is not None:
        return problem
    try:
        calendar = CronCalendar(expression)
    except ValueError as error:
        return f'"{expression}": {error}'
    if calendar.after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        return f'"{expression}": is never due'
    return None


@lru_cache(_KEPT)
def _read(expression: str) -> tuple[ZoneInfo | None, str]:
    """Zone and fields. ValueError says what is wrong with them."""
    name, rest = split_zone(expression)
    zone: ZoneInfo | None = None
    if name is not None and name.upper() not in ("UTC", "GMT"):
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f'unknown time zone "{name}"') from None
    fields = ALIASES.get(rest.lower(), rest).replace("?", "*")
    try:
        CronSim(fields, datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as error:
        raise ValueError(str(error) or "is never due") from None
    return zone, fields


@lru_cache(_KEPT)
def _after(expression: str, at: datetime) -> datetime | None:
    """Kept, since a herd of equal crons asks the same."""
    zone, fields = _read(expression)
    return next(CronTimes(fields, zone, at), None)
