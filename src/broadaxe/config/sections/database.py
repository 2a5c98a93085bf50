"""The database, the first tenant and the first account."""

from uuid import UUID

from broadaxe.config.declare import DATABASE_FILE, ignored, later, section, used
from broadaxe.config.kinds import (
    BOOL,
    COUNT,
    DATABASE_PORT,
    DURATION,
    FORMAT,
    ID,
    LEVEL,
    POSITIVE,
    POSTGRES_URL,
    SSL_MODE,
    TEXT,
)


@section("Database", file=DATABASE_FILE)
class DatabaseSettings:
    """The connection to PostgreSQL. DATABASE_URL wins over its parts."""

    url: str = used(
        "DATABASE_URL",
        "url",
        POSTGRES_URL,
        default="",
        meaning=(
            "Whole connection URL; empty means that it is put together from the parts below (or the "
            "embedded server, under `broadaxe dev`)."
        ),
        secret=True,
    )
    host: str = used(
        "DATABASE_POSTGRES_HOST",
        "host",
        TEXT,
        default="127.0.0.1",
        meaning="Host, or the directory of a unix socket.",
    )
    port: int = used(
        "DATABASE_POSTGRES_PORT",
        "port",
        DATABASE_PORT,
        default="5431",
        meaning="Port.",
    )
    username: str = used(
        "DATABASE_POSTGRES_USERNAME",
        "username",
        TEXT,
        default="hatchet",
        meaning="User.",
    )
    password: str = used(
        "DATABASE_POSTGRES_PASSWORD",
        "password",
        TEXT,
        default="hatchet",
        meaning="Password.",
        secret=True,
    )
    db_name: str = used(
        "DATABASE_POSTGRES_DB_NAME",
        "dbName",
        TEXT,
        default="hatchet",
        meaning="Database.",
    )
    ssl_mode: str = used(
        "DATABASE_POSTGRES_SSL_MODE",
        "sslMode",
        SSL_MODE,
        default="disable",
        meaning=(
            "TLS of the connection: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`."
        ),
    )
    log_queries: bool = used(
        "DATABASE_LOG_QUERIES",
        "logQueries",
        BOOL,
        default="false",
        meaning="Whether every statement is logged, without its values.",
    )
    max_conns: int = used(
        "DATABASE_MAX_CONNS",
        "maxConns",
        POSITIVE,
        default="50",
        meaning="Connections of one process, at most.",
    )
    min_conns: int = ignored(
        "DATABASE_MIN_CONNS",
        "minConns",
        COUNT,
        default="1",
        meaning="Connections kept open, at least.",
        reason="connections are opened when they are needed",
    )
    max_conn_lifetime: float = ignored(
        "DATABASE_MAX_CONN_LIFETIME",
        "maxConnLifetime",
        DURATION,
        default="15m",
        meaning="Age at which a connection is replaced; 0 means never.",
        reason="a connection is replaced when it was idle or failed, not by its age",
    )
    max_conn_idle_time: float = used(
        "DATABASE_MAX_CONN_IDLE_TIME",
        "maxConnIdleTime",
        DURATION,
        default="1m",
        meaning="Idle time after which a connection is closed; 0 means never.",
    )
    command_wait: float = used(
        "DATABASE_COMMAND_WAIT",
        "commandWait",
        DURATION,
        default="15s",
        meaning="How long a command that ends, such as `broadaxe migrate`, waits for an absent database.",
    )
    application_name_prefix: str = used(
        "K8S_POD_NAMESPACE",
        "applicationNamePrefix",
        TEXT,
        default="",
        meaning=(
            "Prefix of the application name in PostgreSQL, and the resource attribute "
            "`k8s.namespace.name`, when set."
        ),
    )
    pgbouncer_url: str = used(
        "DATABASE_PGBOUNCER_URL",
        "pgbouncerUrl",
        POSTGRES_URL,
        default="",
        meaning=(
            "URL of a transaction pooler in front of the same database: reads and commits go through it. "
            "What needs a session of its own (LISTEN, leases, migrations) keeps the direct URL."
        ),
        secret=True,
    )
    ddl_pool_max_conns: int = ignored(
        "DATABASE_DDL_POOL_MAX_CONNS",
        "ddlPoolMaxConns",
        COUNT,
        default="5",
        meaning="Connections of Hatchet's pool for changing tables, at most.",
        reason="partitions are made over an ordinary connection",
    )
    ddl_pool_min_conns: int = ignored(
        "DATABASE_DDL_POOL_MIN_CONNS",
        "ddlPoolMinConns",
        COUNT,
        default="1",
        meaning="The same, at least.",
        reason="partitions are made over an ordinary connection",
    )
    read_replica_enabled: bool = later(
        "READ_REPLICA_ENABLED",
        "readReplicaEnabled",
        BOOL,
        default="false",
        meaning="Whether lists and counts are read from a replica.",
    )
    read_replica_url: str = later(
        "READ_REPLICA_DATABASE_URL",
        "readReplicaDatabaseUrl",
        POSTGRES_URL,
        default="",
        meaning="URL of that replica.",
        secret=True,
    )
    read_replica_max_conns: int = later(
        "READ_REPLICA_MAX_CONNS",
        "readReplicaMaxConns",
        POSITIVE,
        default="50",
        meaning="Connections to it, at most.",
    )
    read_replica_min_conns: int = later(
        "READ_REPLICA_MIN_CONNS",
        "readReplicaMinConns",
        COUNT,
        default="10",
        meaning="Connections to it, at least.",
    )
    cache_duration: float = used(
        "CACHE_DURATION",
        "cacheDuration",
        DURATION,
        default="5s",
        meaning="How long a look-up, such as that of a token, is believed before it is asked again.",
    )
    enforce_utc_timezone: bool = ignored(
        "DATABASE_ENFORCE_UTC_TIMEZONE",
        "enforceUtcTimezone",
        BOOL,
        default="true",
        meaning="Whether Hatchet refuses a database in another time zone.",
        reason="every session sets UTC itself",
    )
    logger_level: str = used(
        "DATABASE_LOGGER_LEVEL",
        "logger.level",
        LEVEL,
        default="warn",
        meaning="Level for the database part; SERVER_LOGGER_LEVEL counts unless this is given.",
    )
    logger_format: str = ignored(
        "DATABASE_LOGGER_FORMAT",
        "logger.format",
        FORMAT,
        default="",
        meaning="Format of these lines.",
        reason="all lines of a process have one format",
    )


@section("First tenant and account", file=DATABASE_FILE)
class SeedSettings:
    """What `broadaxe seed` creates."""

    admin_email: str = used(
        "ADMIN_EMAIL",
        "seed.adminEmail",
        TEXT,
        default="admin@example.com",
        meaning="E-mail address of the first account.",
    )
    admin_password: str = used(
        "ADMIN_PASSWORD",
        "seed.adminPassword",
        TEXT,
        default="Admin123!!",
        meaning="Its password.",
        secret=True,
    )
    admin_name: str = used(
        "ADMIN_NAME",
        "seed.adminName",
        TEXT,
        default="Admin",
        meaning="Its name.",
    )
    tenant_name: str = used(
        "DEFAULT_TENANT_NAME",
        "seed.defaultTenantName",
        TEXT,
        default="Default",
        meaning="Name of the first tenant.",
    )
    tenant_slug: str = used(
        "DEFAULT_TENANT_SLUG",
        "seed.defaultTenantSlug",
        TEXT,
        default="default",
        meaning="Its short name in URLs.",
    )
    tenant_id: UUID = used(
        "DEFAULT_TENANT_ID",
        "seed.defaultTenantId",
        ID,
        default="707d0855-80ab-4e1f-a156-f1c4546cbf52",
        meaning="Its id.",
    )
