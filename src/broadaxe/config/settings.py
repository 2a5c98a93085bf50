"""The whole of the settings: one frozen object, a section an attribute, with the origin of every value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast, get_type_hints
from urllib.parse import quote

from broadaxe.config.declare import Setting, info_of, settings_of
from broadaxe.config.sections.api import ApiSettings, MonitoringSettings
from broadaxe.config.sections.auth import (
    AuthSettings,
    EncryptionSettings,
    ExchangeTokenSettings,
    GithubSettings,
    GoogleSettings,
)
from broadaxe.config.sections.database import DatabaseSettings, SeedSettings
from broadaxe.config.sections.engine import EngineSettings, SchedulerSettings
from broadaxe.config.sections.events import EventSettings
from broadaxe.config.sections.expressions import ExpressionSettings
from broadaxe.config.sections.grpc import GrpcSettings, InternalClientSettings, TlsSettings
from broadaxe.config.sections.limits import LimitSettings
from broadaxe.config.sections.mail import EmailSettings, SlackSettings
from broadaxe.config.sections.maintenance import ImageSettings, MaintenanceSettings, PayloadStoreSettings
from broadaxe.config.sections.msgqueue import MessageQueueSettings
from broadaxe.config.sections.observability import (
    LoggerSettings,
    ObservabilitySettings,
    PrometheusSettings,
    SamplingSettings,
)
from broadaxe.config.sections.otel import OtelSettings
from broadaxe.config.sections.reporting import AlertingSettings, AnalyticsSettings, PylonSettings
from broadaxe.config.sections.runtime import RuntimeSettings, SecurityCheckSettings
from broadaxe.config.sections.schedules import ScheduleSettings


@dataclass(frozen=True, slots=True)
class Section:
    """A section: the attribute of `Settings` that holds it, its class, its YAML file and its title."""

    attribute: str
    cls: type
    file: str
    title: str

    def settings(self) -> Iterator[tuple[str, Setting]]:
        """The attribute name and declaration of each setting."""
        return settings_of(self.cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of one process, typed. Durations are seconds, sizes are bytes.

    `origins` names, by environment variable, where a value came from; what is not in it is a default.
    """

    runtime: RuntimeSettings
    grpc: GrpcSettings
    tls: TlsSettings
    internal_client: InternalClientSettings
    engine: EngineSettings
    events: EventSettings
    expressions: ExpressionSettings
    schedules: ScheduleSettings
    database: DatabaseSettings
    seed: SeedSettings
    encryption: EncryptionSettings
    otel: OtelSettings
    prometheus: PrometheusSettings
    logger: LoggerSettings
    limits: LimitSettings
    api: ApiSettings
    auth: AuthSettings
    google: GoogleSettings
    github: GithubSettings
    exchange_token: ExchangeTokenSettings
    msgqueue: MessageQueueSettings
    monitoring: MonitoringSettings
    observability: ObservabilitySettings
    sampling: SamplingSettings
    email: EmailSettings
    slack: SlackSettings
    alerting: AlertingSettings
    scheduler: SchedulerSettings
    security_check: SecurityCheckSettings
    analytics: AnalyticsSettings
    pylon: PylonSettings
    payload_store: PayloadStoreSettings
    maintenance: MaintenanceSettings
    image: ImageSettings
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def database_dsn(self) -> str:
        """The connection URL with its password: DATABASE_URL, or one put together from its parts."""
        database = self.database
        if database.url:
            return database.url
        user = f"{quote(database.username, safe='')}:{quote(database.password, safe='')}"
        # a directory (a unix socket) may not stand before the path of a URL, but may in its query
        is_socket = database.host.startswith("/")
        place = "" if is_socket else f"{_bracketed(database.host)}:{database.port}"
        query = f"sslmode={database.ssl_mode}"
        if is_socket:
            query = f"host={quote(database.host, safe='')}&port={database.port}&{query}"
        return f"postgresql://{user}@{place}/{quote(database.db_name, safe='')}?{query}"

    @property
    def grpc_security(self) -> str:
        """What the gRPC server speaks: `plaintext`, `tls` or `mtls`."""
        if self.grpc.insecure or self.tls.strategy == "none":
            return "plaintext"
        return self.tls.strategy

    @property
    def pod_namespace(self) -> str:
        """The Kubernetes namespace of this process, empty outside of a cluster."""
        return self.database.application_name_prefix

    def origin(self, variable: str) -> str:
        """Where the value of a variable came from, `default` when nothing gave one."""
        return self.origins.get(variable, "default")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _sections() -> tuple[Section, ...]:
    hints = get_type_hints(Settings)
    found: list[Section] = []
    for item in fields(Settings):
        if item.name != "origins":
            cls = cast("type", hints[item.name])
            info = info_of(cls)
            found.append(Section(item.name, cls, info.file, info.title))
    return tuple(found)


SECTIONS = _sections()
"""Every section, in the order of the documentation."""


def every_setting() -> Iterator[tuple[Section, str, Setting]]:
    """Each setting with its section and attribute name."""
    for part in SECTIONS:
        for name, setting in part.settings():
            yield part, name, setting


def build(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Settings out of parsed values by environment variable; what is missing takes its default."""
    parts: dict[str, Any] = {}
    for part in SECTIONS:
        given = {name: values[item.variable] for name, item in part.settings() if item.variable in values}
        parts[part.attribute] = part.cls(**given)
    return Settings(**parts, origins=dict(origins))


def defaults() -> Settings:
    """The settings of an empty environment without files."""
    return build({}, {})
