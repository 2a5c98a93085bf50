"""Times of cron expressions against a model that looks at every second or minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broadaxe.domain.schedule import Missed, cron_due
from broadaxe.engine.schedules.calendar import CronCalendar

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field and the numbers that it stands for."""
    everything = frozenset(range(low, high + 1))
    number = st.integers(low, high)
    star = st.just(("*", everything))
    steps = st.integers(1, high).map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n))))
    single = number.map(lambda n: (str(n), frozenset({n})))
    span = st.tuples(number, number).map(
        lambda pair: (f"{min(pair)}-{max(pair)}", frozenset(range(min(pair), max(pair) + 1)))
    )
    several = st.lists(st.one_of(single, span), min_size=1, max_size=3).map(
        lambda items: (",".join(text for text, _ in items), frozenset().union(*(found for _, found in items)))
    )
    return st.one_of(star, steps, single, span, several)


EVERY_DAY = (
    ("*", frozenset(range(1, 32))),
    ("*", frozenset(range(1, 13))),
    ("*", frozenset(range(7))),
)
FIVE = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
# Around the changes of clocks, where it matters.
CHANGES = st.sampled_from(
    [
        datetime(2026, 3, 29, tzinfo=UTC),
        datetime(2026, 10, 25, tzinfo=UTC),
        datetime(2026, 3, 8, 6, tzinfo=UTC),
        datetime(2026, 11, 1, 5, tzinfo=UTC),
        datetime(2026, 4, 4, 14, tzinfo=UTC),
        datetime(2026, 10, 3, 15, tzinfo=UTC),
    ]
)
NEAR = st.tuples(CHANGES, st.integers(-5_000, 5_000)).map(lambda pair: pair[0] + timedelta(seconds=pair[1]))


def day_fits(at: datetime, days: tuple[str, frozenset[int]], weekdays: tuple[str, frozenset[int]]) -> bool:
    in_days, in_weekdays = at.day in days[1], at.isoweekday() % 7 in weekdays[1]
    if days[0].startswith("*") or weekdays[0].startswith("*"):
        return in_days and in_weekdays
    return in_days or in_weekdays


def fits(at: datetime, fields: tuple[tuple[str, frozenset[int]], ...]) -> bool:
    minutes, hours, days, months, weekdays = fields
    return (
        at.minute in minutes[1]
        and at.hour in hours[1]
        and at.month in months[1]
        and day_fits(at, days, weekdays)
    )


def text(fields: tuple[tuple[str, frozenset[int]], ...], zone: str = "UTC") -> str:
    return f"CRON_TZ={zone} " + " ".join(name for name, _ in fields)


@given(FIVE, MOMENTS)
@settings(max_examples=300, deadline=None)
def test_after_in_utc_is_what_looking_at_every_minute_finds(
    fields: tuple[tuple[str, frozenset[int]], ...], at: datetime
) -> None:
    hour, minute = min(fields[1][1]), min(fields[0][1])
    days = [datetime(2024, month, day, hour, minute) for month in range(1, 13) for day in range(1, 30)]
    if not any(fits(day, fields) for day in days):
        return  # due in long months only, or never
    calendar = CronCalendar(text(fields))
    expected = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    limit = expected + timedelta(days=3)
    while expected < limit and not fits(expected, fields):
        expected += timedelta(minutes=1)
    found = calendar.after(at)
    assert found is not None
    if expected < limit:
        assert found == expected
    else:
        assert found >= limit


@given(FIVE, st.booleans(), st.sampled_from(ZONES), NEAR)
@settings(max_examples=300, deadline=None)
@example(
    (("*", frozenset(range(60))), ("*/2", frozenset(range(0, 24, 2))), *EVERY_DAY),
    True,
    "Australia/Lord_Howe",
    datetime(2026, 4, 4, 14, tzinfo=UTC),
)
@example(
    (("17", frozenset({17})), ("*/18", frozenset({0, 18})), *EVERY_DAY),
    False,
    "Australia/Lord_Howe",
    datetime(2026, 4, 4, 13, 49, tzinfo=UTC),
)
def test_intervals_in_any_zone_are_what_looking_at_every_real_minute_finds(
    fields: tuple[tuple[str, frozenset[int]], ...], every_minute: bool, zone: str, at: datetime
) -> None:
    if every_minute or not fields[1][0].startswith("*"):
        fields = (("*", frozenset(range(60))), *fields[1:])
    local = ZoneInfo(zone)
    expected = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    limit = expected + timedelta(days=2)
    while expected < limit and not fits(expected.astimezone(local), fields):
        expected += timedelta(minutes=1)
    if expected < limit:
        assert CronCalendar(text(fields, zone)).after(at) == expected


@given(FIVE, st.sampled_from(ZONES), NEAR)
@settings(max_examples=300, deadline=None)
def test_fixed_times_in_any_zone_fire_once_a_wall_time_and_never_go_back(
    fields: tuple[tuple[str, frozenset[int]], ...], zone: str, at: datetime
) -> None:
    fixed = (str(min(fields[0][1])), frozenset({min(fields[0][1])}))
    hour = (str(min(fields[1][1])), frozenset({min(fields[1][1])}))
    wanted = (fixed, hour, *EVERY_DAY)
    calendar, local = CronCalendar(text(wanted, zone)), ZoneInfo(zone)
    last, seen = at, []
    for _ in range(4):
        found = calendar.after(last)
        assert found is not None
        assert found > last
        last = found
        seen.append(found.astimezone(local).date())
    # Once a day, whatever the clocks do; a missing time fires on the same day.
    assert seen == [seen[0] + timedelta(days=n) for n in range(4)]


@given(FIVE, st.sampled_from(ZONES), NEAR, st.integers(0, 200_000), st.integers(0, 9_000), st.booleans())
@settings(max_examples=300, deadline=None)
def test_cron_due_leaves_no_time_out_and_none_twice(
    fields: tuple[tuple[str, frozenset[int]], ...],
    zone: str,
    settled: datetime,
    away: int,
    grace: int,
    catch_up: bool,
) -> None:
    fields = (*fields[:2], *EVERY_DAY)
    calendar = CronCalendar(text(fields, zone))
    now = settled + timedelta(seconds=away)
    missed = Missed.LAST if catch_up else Missed.SKIP
    owed = cron_due(calendar, settled, now, grace=timedelta(seconds=grace), missed=missed, most=10_000)
    every, at = [], calendar.after(settled)
    while at is not None and at <= now:
        every.append(at)
        at = calendar.after(at)
    skipped = [one for one in every if owed.skip is not None and owed.skip.first <= one <= owed.skip.last]
    assert sorted([*skipped, *owed.fires]) == every
    assert owed.next == at
    late = [one for one in owed.fires if one < now - timedelta(seconds=grace)]
    assert len(late) <= (1 if catch_up else 0)
    if owed.skip is not None:
        assert owed.skip.first in every
        assert owed.skip.last in every
