"""Limits of user events and idempotency keys."""

from broadaxe.config.declare import section, used
from broadaxe.config.kinds import BYTES, POSITIVE


@section("Events")
class EventSettings:
    """How large events may be, and how much one of them may start."""

    max_key_bytes: int = used(
        "SERVER_EVENT_MAX_KEY_BYTES",
        "events.maxKeyBytes",
        BYTES,
        default="1024",
        meaning="Longest key, and longest scope, of an event or a filter.",
    )
    max_bulk: int = used(
        "SERVER_EVENT_MAX_BULK",
        "events.maxBulk",
        POSITIVE,
        default="1000",
        meaning="Most events in one call.",
    )
    max_runs: int = used(
        "SERVER_EVENT_MAX_RUNS",
        "events.maxRuns",
        POSITIVE,
        default="10000",
        meaning="Most runs that one event may start; an event that would start more is refused.",
    )
    max_fanout_bytes: int = used(
        "SERVER_EVENT_MAX_FANOUT_BYTES",
        "events.maxFanoutBytes",
        BYTES,
        default="268435456",
        meaning="Most bytes that the inputs of all runs of one event may take together.",
    )
    max_look_back: int = used(
        "SERVER_EVENT_MAX_LOOK_BACK",
        "events.maxLookBack",
        POSITIVE,
        default="1000",
        meaning="Most earlier events that one condition with `consider_events_since` looks at.",
    )
    max_filters: int = used(
        "SERVER_EVENT_MAX_FILTERS",
        "events.maxFilters",
        POSITIVE,
        default="10000",
        meaning="Most filters of a tenant that were made by the API.",
    )
    max_filter_payload_bytes: int = used(
        "SERVER_EVENT_MAX_FILTER_PAYLOAD_BYTES",
        "events.maxFilterPayloadBytes",
        BYTES,
        default="65536",
        meaning="Largest payload of a filter that is made by the API.",
    )
    max_idempotency_key_bytes: int = used(
        "SERVER_IDEMPOTENCY_MAX_KEY_BYTES",
        "events.maxIdempotencyKeyBytes",
        BYTES,
        default="1024",
        meaning="Longest idempotency key.",
    )
