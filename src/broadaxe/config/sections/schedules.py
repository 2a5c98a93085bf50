"""Crons and planned runs."""

from broadaxe.config.declare import section, used
from broadaxe.config.kinds import DURATION, POSITIVE, POSITIVE_DURATION, choice


@section("Crons and planned runs")
class ScheduleSettings:
    """When due times are started late, made up for or skipped, and how many a tenant may have."""

    cron_grace: float = used(
        "SERVER_CRON_GRACE",
        "schedules.cronGrace",
        DURATION,
        default="15s",
        meaning="How late a cron's due time is still started, after a restart say; older ones were missed.",
    )
    cron_catch_up: str = used(
        "SERVER_CRON_CATCH_UP",
        "schedules.cronCatchUp",
        choice("none", "last"),
        default="none",
        meaning="Missed due times of a cron: skip them all, or make up for the last one.",
    )
    horizon: float = used(
        "SERVER_SCHEDULE_HORIZON",
        "schedules.horizon",
        POSITIVE_DURATION,
        default="1h",
        meaning="How far ahead planned runs are kept in memory.",
    )
    max_crons: int = used(
        "SERVER_LIMITS_MAX_CRONS",
        "schedules.maxCrons",
        POSITIVE,
        default="100000",
        meaning="Most crons of one tenant; further ones are answered RESOURCE_EXHAUSTED.",
    )
    max_scheduled: int = used(
        "SERVER_LIMITS_MAX_SCHEDULED_RUNS",
        "schedules.maxScheduledRuns",
        POSITIVE,
        default="1000000",
        meaning="Most planned runs of one tenant that wait.",
    )
