"""Times of cron expressions: notation, time zones, the missing and the doubled hour."""

from datetime import UTC, datetime, timedelta

import pytest

from broadaxe.domain.schedule import Missed, Skip, SkipReason, cron_due
from broadaxe.engine.schedules.calendar import CronCalendar, expression_problem


def times(expression: str, start: str, count: int) -> list[str]:
    calendar, at, found = CronCalendar(expression), datetime.fromisoformat(start), []
    for _ in range(count):
        after = calendar.after(at)
        assert after is not None
        at = after
        found.append(at.strftime("%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("* * * * *", "2026-03-01T00:00:30Z", ["01 00:01:00", "01 00:02:00"]),
        ("*/20 * * * * *", "2026-03-01T00:00:30Z", ["01 00:00:40", "01 00:01:00"]),
        ("@hourly", "2026-03-01T00:00:00Z", ["01 01:00:00", "01 02:00:00"]),
        ("@Daily", "2026-03-01T05:00:00Z", ["02 00:00:00", "03 00:00:00"]),
        ("0 9 * * MON-FRI", "2026-03-06T10:00:00Z", ["09 09:00:00", "10 09:00:00"]),
        ("0 0 1,15 * 0", "2026-03-01T00:00:00Z", ["08 00:00:00", "15 00:00:00", "22 00:00:00"]),
        ("0 0 ? * 7", "2026-03-02T00:00:00Z", ["08 00:00:00"]),
        (
            "5/20 * * * *",
            "2026-03-01T00:00:00Z",
            ["01 00:05:00", "01 00:25:00", "01 00:45:00", "01 01:05:00"],
        ),
        ("0 12 29 2 *", "2026-03-01T00:00:00Z", ["29 12:00:00"]),
        ("CRON_TZ=America/New_York 0 9 * * *", "2026-01-10T00:00:00Z", ["10 14:00:00", "11 14:00:00"]),
        ("TZ=Asia/Kolkata 30 9 * * *", "2026-01-10T00:00:00Z", ["10 04:00:00", "11 04:00:00"]),
    ],
)
def test_calendar_gives_the_times_of_an_expression(expression: str, start: str, expected: list[str]) -> None:
    assert times(expression, start, len(expected)) == expected


def test_missing_hour_a_fixed_time_fires_once_when_it_is_over() -> None:
    # Berlin, 29 March 2026: 02:00 becomes 03:00.
    assert times("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-27T12:00:00Z", 3) == [
        "28 01:30:00", "29 01:00:00", "30 00:30:00"
    ]  # fmt: skip


def test_doubled_hour_a_fixed_time_fires_once_the_first_time() -> None:
    # Berlin, 25 October 2026: 03:00 becomes 02:00.
    assert times("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-23T12:00:00Z", 3) == [
        "24 00:30:00", "25 00:30:00", "26 01:30:00"
    ]  # fmt: skip


def test_doubled_hour_seen_from_within_its_second_pass_never_goes_back() -> None:
    calendar = CronCalendar("CRON_TZ=Europe/Berlin 30 2 * * *")
    assert calendar.after(datetime(2026, 10, 25, 1, 15, tzinfo=UTC)) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


def test_intervals_follow_real_time_through_both_changes() -> None:
    assert times("CRON_TZ=Europe/Berlin */30 * * * *", "2026-03-29T00:29:00Z", 4) == [
        "29 00:30:00", "29 01:00:00", "29 01:30:00", "29 02:00:00"
    ]  # fmt: skip
    assert times("CRON_TZ=Europe/Berlin */30 * * * *", "2026-10-25T00:29:00Z", 4) == [
        "25 00:30:00", "25 01:00:00", "25 01:30:00", "25 02:00:00"
    ]  # fmt: skip


def test_change_of_half_an_hour_leaps_over_nothing() -> None:
    # Lord Howe Island, 5 April 2026: 02:00 becomes 01:30.
    assert times("CRON_TZ=Australia/Lord_Howe */30 0 * * *", "2026-04-04T14:00:00Z", 3) == [
        "05 13:30:00", "05 14:00:00", "06 13:30:00"
    ]  # fmt: skip


def test_six_fields_skip_a_missing_time_and_fire_a_doubled_one_twice() -> None:
    assert times("CRON_TZ=Europe/Berlin 0 30 2 * * *", "2026-03-27T12:00:00Z", 2) == [
        "28 01:30:00", "30 00:30:00"
    ]  # fmt: skip
    assert times("CRON_TZ=Europe/Berlin 0 30 2 * * *", "2026-10-24T12:00:00Z", 3) == [
        "25 00:30:00", "25 01:30:00", "26 01:30:00"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 0 31 4 *", "day-of-month"),
        ("CRON_TZ=Nowhere/City 0 0 * * *", 'unknown time zone "Nowhere/City"'),
        ("CRON_TZ=../etc/passwd 0 0 * * *", "time zone"),
        ("CRON_TZ= 0 0 * * *", "time zone"),
        ("* * * * * * *", "found 7"),
        ("", "found 0"),
        ("a" * 501, "longer"),
    ],
)
def test_expression_problem_says_what_is_wrong(expression: str, text: str) -> None:
    problem = expression_problem(expression)
    assert problem is not None
    assert text in problem


@pytest.mark.parametrize("expression", ["@yearly", "0 0 29 2 *", "CRON_TZ=UTC * * * * *", "59 59 23 31 12 ?"])
def test_expression_problem_accepts_what_is_due_some_day(expression: str) -> None:
    assert expression_problem(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["* * * * * *", "*/7 * * * *", "0 0 29 2 *", "CRON_TZ=Europe/Berlin 30 2 * * *", "0 3 * * MON"],
)
@pytest.mark.parametrize("at", ["2026-03-29T01:30:00Z", "2026-10-25T01:30:00Z", "2026-01-01T00:00:00Z"])
def test_before_is_the_last_time_whose_after_is_not_earlier(expression: str, at: str) -> None:
    calendar, moment = CronCalendar(expression), datetime.fromisoformat(at)
    before = calendar.before(moment)
    assert before is not None
    assert before < moment
    following = calendar.after(before)
    assert following is not None
    assert following >= moment


def due(
    minutes_away: int, missed: Missed = Missed.SKIP, grace: int = 90, most: int = 60
) -> tuple[object, ...]:
    calendar = CronCalendar("* * * * *")
    settled = datetime(2026, 1, 1, tzinfo=UTC)
    now = settled + timedelta(minutes=minutes_away, seconds=30)
    found = cron_due(calendar, settled, now, grace=timedelta(seconds=grace), missed=missed, most=most)
    skip = found.skip
    edges = None if skip is None else (skip.first.minute, skip.last.minute)
    return edges, [at.minute for at in found.fires], None if found.next is None else found.next.minute


def test_cron_due_fires_what_is_late_within_grace_and_skips_what_is_older() -> None:
    assert due(0) == (None, [], 1)
    assert due(1) == (None, [1], 2)
    assert due(2) == (None, [1, 2], 3)
    assert due(10) == ((1, 8), [9, 10], 11)


def test_cron_due_catches_up_with_the_last_missed_time() -> None:
    assert due(10, Missed.LAST) == ((1, 7), [8, 9, 10], 11)
    assert due(3, Missed.LAST) == (None, [1, 2, 3], 4)


def test_cron_due_answers_a_bounded_number_at_once() -> None:
    assert due(50, grace=10_000, most=5) == (None, [1, 2, 3, 4, 5], 6)


def test_cron_due_of_a_month_away_is_one_skip_found_without_counting() -> None:
    calendar = CronCalendar("* * * * * *")
    settled = datetime(2026, 1, 1, tzinfo=UTC)
    now = settled + timedelta(days=30)
    found = cron_due(calendar, settled, now, grace=timedelta(seconds=2), missed=Missed.SKIP, most=60)
    last = now - timedelta(seconds=3)
    assert found.skip == Skip(settled + timedelta(seconds=1), last, SkipReason.MISSED)
    assert found.fires == (now - timedelta(seconds=2), now - timedelta(seconds=1), now)
