"""The REST API: who may sign up, who is trusted, how fast."""

from broadaxe.config.declare import later, section, used
from broadaxe.config.kinds import (
    BOOL,
    COMMA_LIST,
    COUNT,
    DURATION,
    MIXED_LIST,
    POSITIVE,
    POSITIVE_DURATION,
    TEXT,
    WORDS,
)


@section("REST API")
class ApiSettings:
    """Who may do what, and from where."""

    allow_signup: bool = later(
        "SERVER_ALLOW_SIGNUP",
        "runtime.allowSignup",
        BOOL,
        default="true",
        meaning="Whether people may create accounts themselves.",
    )
    allow_invites: bool = later(
        "SERVER_ALLOW_INVITES",
        "runtime.allowInvites",
        BOOL,
        default="true",
        meaning="Whether members may invite others.",
    )
    allow_create_tenant: bool = later(
        "SERVER_ALLOW_CREATE_TENANT",
        "runtime.allowCreateTenant",
        BOOL,
        default="true",
        meaning="Whether people may create tenants.",
    )
    max_pending_invites: int = later(
        "SERVER_MAX_PENDING_INVITES",
        "runtime.maxPendingInvites",
        COUNT,
        default="100",
        meaning="Open invitations one member may have.",
    )
    allow_change_password: bool = later(
        "SERVER_ALLOW_CHANGE_PASSWORD",
        "runtime.allowChangePassword",
        BOOL,
        default="true",
        meaning="Whether people may change their password.",
    )
    rate_limit: int = later(
        "SERVER_API_RATE_LIMIT",
        "runtime.apiRateLimit",
        POSITIVE,
        default="10",
        meaning=("Requests a second from one address to log-in, sign-up and the like; more is answered 429."),
    )
    rate_limit_window: float = later(
        "SERVER_API_RATE_LIMIT_WINDOW",
        "runtime.apiRateLimitWindow",
        DURATION,
        default="300s",
        meaning="How long the count of an address that went quiet is kept.",
    )
    trusted_proxies: tuple[str, ...] = later(
        "SERVER_API_TRUSTED_PROXIES",
        "runtime.apiTrustedProxies",
        COMMA_LIST,
        default="",
        meaning="Networks (CIDR) whose forwarding headers are believed.",
    )
    trust_private_proxies: bool = later(
        "SERVER_API_TRUST_PRIVATE_PROXIES",
        "runtime.apiTrustPrivateProxies",
        BOOL,
        default="true",
        meaning="Whether peers with private addresses are believed too.",
    )
    allowed_origins: tuple[str, ...] = used(
        "SERVER_ALLOWED_ORIGINS",
        "runtime.allowedOriginsString",
        WORDS,
        default="",
        meaning="Origins that browsers may call from (CORS); `*` stands for any part.",
    )
    enforce_limits: bool = later(
        "SERVER_ENFORCE_LIMITS",
        "runtime.enforceLimits",
        BOOL,
        default="false",
        meaning="Whether the limits of tenants below are applied.",
    )


@section("Monitoring probe")
class MonitoringSettings:
    """A REST route that runs a small workflow end to end."""

    enabled: bool = later(
        "SERVER_MONITORING_ENABLED",
        "runtime.monitoring.enabled",
        BOOL,
        default="true",
        meaning="Whether the route `/api/v1/monitoring/{tenant}/probe` answers.",
    )
    permitted_tenants: tuple[str, ...] = later(
        "SERVER_MONITORING_PERMITTED_TENANTS",
        "runtime.monitoring.permittedTenants",
        MIXED_LIST,
        default="",
        meaning="Tenants that may use it; empty means none.",
    )
    probe_timeout: float = later(
        "SERVER_MONITORING_PROBE_TIMEOUT",
        "runtime.monitoring.probeTimeout",
        POSITIVE_DURATION,
        default="30s",
        meaning="How long a probe may take.",
    )
    tls_root_ca_file: str = later(
        "SERVER_MONITORING_TLS_ROOT_CA_FILE",
        "runtime.monitoring.tlsRootCAFile",
        TEXT,
        default="",
        meaning="Root certificates the probe trusts.",
    )
