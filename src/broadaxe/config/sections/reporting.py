"""Error reports and usage statistics."""

from broadaxe.config.declare import ignored, later, section
from broadaxe.config.kinds import BOOL, COUNT, DURATION, RATIO, TEXT


@section("Error reports")
class AlertingSettings:
    """Sending the server's own errors to Sentry."""

    sentry_enabled: bool = later(
        "SERVER_ALERTING_SENTRY_ENABLED",
        "alerting.sentry.enabled",
        BOOL,
        default="false",
        meaning="Whether errors are sent.",
    )
    sentry_dsn: str = later(
        "SERVER_ALERTING_SENTRY_DSN",
        "alerting.sentry.dsn",
        TEXT,
        default="",
        meaning="Where to, key included.",
        secret=True,
    )
    sentry_environment: str = later(
        "SERVER_ALERTING_SENTRY_ENVIRONMENT",
        "alerting.sentry.environment",
        TEXT,
        default="development",
        meaning="Name of the environment.",
    )
    sentry_sample_rate: float = later(
        "SERVER_ALERTING_SENTRY_SAMPLE_RATE",
        "alerting.sentry.sampleRate",
        RATIO,
        default="1",
        meaning="Share of errors to send.",
    )


@section("Usage statistics")
class AnalyticsSettings:
    """Broadaxe sends no usage statistics."""

    posthog_enabled: bool = ignored(
        "SERVER_ANALYTICS_POSTHOG_ENABLED",
        "analytics.posthog.enabled",
        BOOL,
        default="false",
        meaning="Statistics to PostHog.",
        reason="Broadaxe sends no usage statistics",
    )
    posthog_api_key: str = ignored(
        "SERVER_ANALYTICS_POSTHOG_API_KEY",
        "analytics.posthog.apiKey",
        TEXT,
        default="",
        meaning="Key for it.",
        reason="Broadaxe sends no usage statistics",
        secret=True,
    )
    posthog_endpoint: str = ignored(
        "SERVER_ANALYTICS_POSTHOG_ENDPOINT",
        "analytics.posthog.endpoint",
        TEXT,
        default="",
        meaning="Server for it.",
        reason="Broadaxe sends no usage statistics",
    )
    posthog_fe_api_host: str = ignored(
        "SERVER_ANALYTICS_POSTHOG_FE_API_HOST",
        "analytics.posthog.feApiHost",
        TEXT,
        default="",
        meaning="Server for the dashboard's part.",
        reason="Broadaxe sends no usage statistics",
    )
    posthog_fe_api_key: str = ignored(
        "SERVER_ANALYTICS_POSTHOG_FE_API_KEY",
        "analytics.posthog.feApiKey",
        TEXT,
        default="",
        meaning="Key for the dashboard's part.",
        reason="Broadaxe sends no usage statistics",
        secret=True,
    )
    aggregate_enabled: bool = ignored(
        "SERVER_ANALYTICS_AGGREGATE_ENABLED",
        "analytics.aggregateEnabled",
        BOOL,
        default="false",
        meaning="Whether statistics are summed up before they are sent.",
        reason="Broadaxe sends no usage statistics",
    )
    aggregate_flush_interval: float = ignored(
        "SERVER_ANALYTICS_AGGREGATE_FLUSH_INTERVAL",
        "analytics.aggregateFlushInterval",
        DURATION,
        default="60m",
        meaning="How often sums are sent.",
        reason="Broadaxe sends no usage statistics",
    )
    aggregate_max_keys: int = ignored(
        "SERVER_ANALYTICS_AGGREGATE_MAX_KEYS",
        "analytics.aggregateMaxKeys",
        COUNT,
        default="500",
        meaning="Sums held at most.",
        reason="Broadaxe sends no usage statistics",
    )


@section("Support chat")
class PylonSettings:
    """The chat of Hatchet's hosted service."""

    enabled: bool = ignored(
        "SERVER_PYLON_ENABLED",
        "pylon.enabled",
        BOOL,
        default="false",
        meaning="Whether the dashboard has a support chat.",
        reason="there is no hosted support",
    )
    app_id: str = ignored(
        "SERVER_PYLON_APP_ID",
        "pylon.appID",
        TEXT,
        default="",
        meaning="Its application.",
        reason="there is no hosted support",
    )
    secret: str = ignored(
        "SERVER_PYLON_SECRET",
        "pylon.secret",
        TEXT,
        default="",
        meaning="Its secret.",
        reason="there is no hosted support",
        secret=True,
    )
