"""Loading: who wins, where a value came from, what is told of bad and unknown ones."""

from pathlib import Path

import pytest

from broadaxe.config import Flag, Settings, SettingsError, defaults, load_settings
from broadaxe.config.settings import every_setting


def write(directory: Path, server: str = "", database: str = "") -> Path:
    (directory / "server.yaml").write_text(server)
    (directory / "database.yaml").write_text(database)
    return directory


def test_load_settings_of_nothing_is_the_defaults() -> None:
    loaded = load_settings({})
    assert loaded.settings == defaults()
    assert loaded.warnings == ()
    assert loaded.settings.grpc.port == 7070
    assert loaded.settings.engine.started_commit_delay == pytest.approx(0.05)
    assert loaded.settings.limits.tenant_retention_period == 720 * 3600
    assert loaded.settings.origin("SERVER_PORT") == "default"


def test_load_settings_flag_wins_over_environment_over_file_over_command_default(tmp_path: Path) -> None:
    directory = write(tmp_path, "runtime:\n  grpcPort: 1\n  port: 1\n  healthcheckPort: 1\n")
    settings = load_settings(
        {"SERVER_GRPC_PORT": "2", "SERVER_PORT": "2"},
        config_dir=directory,
        flags={"SERVER_GRPC_PORT": Flag("--grpc-port", "3")},
        defaults={
            "SERVER_GRPC_PORT": "4",
            "SERVER_PORT": "4",
            "SERVER_HEALTHCHECK_PORT": "4",
            "SERVER_GRPC_INSECURE": "true",
        },
        defaults_origin="broadaxe dev",
    ).settings
    assert (settings.grpc.port, settings.runtime.port, settings.runtime.healthcheck_port) == (3, 2, 1)
    assert settings.grpc.insecure
    assert settings.origin("SERVER_GRPC_PORT") == "flag --grpc-port"
    assert settings.origin("SERVER_PORT") == "environment SERVER_PORT"
    assert settings.origin("SERVER_HEALTHCHECK_PORT") == "server.yaml:4 runtime.healthcheckPort"
    assert settings.origin("SERVER_GRPC_INSECURE") == "broadaxe dev"


def test_load_settings_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    directory = write(tmp_path, "otel:\n  serviceName: ''\n  traceIdRatio:\nruntime: {grpcPort: 5}\n")
    settings = load_settings({"SERVER_GRPC_PORT": ""}, config_dir=directory).settings
    assert settings.otel.service_name == "server"
    assert settings.otel.trace_id_ratio == 1
    assert settings.grpc.port == 5


def test_load_settings_yaml_values_keep_their_text(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        "auth:\n  cookie:\n    secrets: [one, two]\n  restrictedEmailDomains: [a.com, b.com]\n"
        "runtime:\n  grpcInsecure: yes\n  allowSignup: off\n"
        "tls: {tlsMinVersion: 1.3}\nservicesString: grpc-api scheduler\n",
        "password: 0123\nusername: on\nmaxConnLifetime: 20m\nseed: {adminPassword: 1e3}\n",
    )
    settings = load_settings({}, config_dir=directory).settings
    assert settings.auth.cookie_secrets == ("one", "two")
    assert settings.auth.restricted_email_domains == ("a.com", "b.com")
    assert settings.grpc.insecure
    assert not settings.api.allow_signup
    assert settings.tls.min_version == "1.3"
    assert settings.runtime.services == ("grpc-api", "scheduler")
    assert (settings.database.password, settings.database.username) == ("0123", "on")
    assert settings.seed.admin_password == "1e3"
    assert settings.database.max_conn_lifetime == 1200


def test_load_settings_yaml_merge_key_is_followed(tmp_path: Path) -> None:
    directory = write(tmp_path, "x: &base {grpcPort: 9, port: 8}\nruntime:\n  <<: *base\n  port: 7\n")
    settings = load_settings({}, config_dir=directory).settings
    assert (settings.grpc.port, settings.runtime.port) == (9, 7)


def test_load_settings_bad_values_are_told_all_at_once_one_line_each(tmp_path: Path) -> None:
    directory = write(tmp_path, "runtime:\n  port: many\n  grpcPort: [1]\n  url: {a: b}\n", "maxConns: 0\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(
            {"SERVER_GRPC_RATE_LIMIT": "-1", "DEFAULT_TENANT_ID": "x\ny", "SERVER_LOGGER_LEVEL": "loud"},
            config_dir=directory,
            flags={"SERVER_HEALTHCHECK_PORT": Flag("--health-port", "99999")},
        )
    lines = "\n".join(caught.value.lines)
    assert str(caught.value) == lines
    assert lines.count("\n") == 7
    for part in (
        'runtime.port (server.yaml:2): "many" is not allowed: not a whole number; allowed: a whole number',
        "runtime.grpcPort (server.yaml:3): a list is not allowed here",
        "runtime.url (server.yaml:4): it holds keys where a value belongs",
        'maxConns (database.yaml:1): "0" is not allowed: out of range',
        'SERVER_GRPC_RATE_LIMIT (environment): "-1" is not allowed: out of range; '
        "allowed: a number, 0 or more",
        'DEFAULT_TENANT_ID (environment): "x\\ny" is not allowed: not a UUID',
        "SERVER_LOGGER_LEVEL (environment):",
        '--health-port (flag): "99999" is not allowed',
    ):
        assert part in lines
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c\n", "server.yaml:1: this is not valid YAML"),
        ("a:\n  *hunter2\n", "server.yaml:2: this is not valid YAML"),
        ("- a\n", "server.yaml: its top must be keys with values"),
        ("otel: {insecure: t, insecure: f}\n", "server.yaml:1: the key otel.insecure is there twice"),
        ("otel: &x\n  y: *x\n", "an anchor contains itself"),
        ("otel: {scopes: [[a]]}\n", "the items of otel.scopes must be words"),
    ],
)
def test_load_settings_bad_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, config_dir=write(tmp_path, text))
    assert line in str(caught.value)
    assert len(caught.value.lines) == 1
    assert "hunter2" not in str(caught.value)


def test_load_settings_missing_directory_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--config: .* is not a directory$"):
        load_settings({}, config_dir=tmp_path / "none")


def test_load_settings_unknown_names_are_warned_of_once(tmp_path: Path) -> None:
    directory = write(tmp_path, "otel:\n  collectorUrl: a:1\nmine: 1\n", "poolSize: 3\n")
    environ = {"SERVER_GRPC_INSECUR": "t", "DATABASE_POOL": "5", "HOME": "/", "SERVERS": "x"}
    loaded = load_settings(environ, config_dir=directory)
    assert loaded.warnings == (
        "DATABASE_POOL (environment) is not a setting and has no effect",
        "SERVER_GRPC_INSECUR (environment) is not a setting and has no effect; "
        "did you mean SERVER_GRPC_INSECURE?",
        "otel.collectorUrl (server.yaml:2) is not a setting and has no effect; "
        "did you mean otel.collectorURL?",
        "mine (server.yaml:3) is not a setting and has no effect",
        "poolSize (database.yaml:1) is not a setting and has no effect",
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER_MSGQUEUE_KIND": "rabbitmq", "SERVER_MSGQUEUE_RABBITMQ_URL": "amqp://a"},
        {"SERVER_TASKQUEUE_RABBITMQ_URL": "amqp://a", "SERVER_MSGQUEUE_RABBITMQ_QOS": "7"},
        {"SERVER_TASKQUEUE_KIND": "rabbitmq"},
        {"SERVER_MSGQUEUE_PUBSUB_KIND": "nats", "SERVER_MSGQUEUE_PUBSUB_NATS_URL": "nats://a"},
    ],
)
def test_load_settings_other_message_queue_is_one_warning(environ: dict[str, str]) -> None:
    warnings = load_settings(environ).warnings
    assert len(warnings) == 1
    assert "the message queue is PostgreSQL" in warnings[0]


def test_load_settings_postgres_message_queue_is_no_warning() -> None:
    environ = {"SERVER_MSGQUEUE_KIND": "postgres", "SERVER_MSGQUEUE_PUBSUB_POSTGRES_MAX_CONNS": "3"}
    assert load_settings(environ).warnings == ()


def test_load_settings_bad_value_of_ignored_setting_only_warns() -> None:
    loaded = load_settings({"SERVER_SECURITY_CHECK_ENABLED": "perhaps", "OTEL_BSP_SCHEDULE_DELAY": "soon"})
    assert len(loaded.warnings) == 2
    assert all(warning.endswith("its default is used") for warning in loaded.warnings)
    assert loaded.settings.otel.batch_delay_ms == 500


def test_load_settings_foreign_flag_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError, match="SERVER_NOTHING"):
        load_settings({}, flags={"SERVER_NOTHING": Flag("--nothing", "1")})


def test_load_settings_every_default_round_trips_through_its_text() -> None:
    settings = defaults()
    for part, attribute, item in every_setting():
        value = getattr(getattr(settings, part.attribute), attribute)
        assert item.kind.parse(item.kind.show(value)) == value, item.variable


def dsn(**environ: str) -> str:
    return load_settings(environ).settings.database_dsn


def test_database_dsn_url_wins_over_parts() -> None:
    url = "postgres://u:p@db/x?sslmode=require"
    assert dsn(DATABASE_URL=url, DATABASE_POSTGRES_HOST="other") == url


def test_database_dsn_parts_are_quoted() -> None:
    made = dsn(
        DATABASE_POSTGRES_USERNAME="a@b",
        DATABASE_POSTGRES_PASSWORD="p:/?#",
        DATABASE_POSTGRES_HOST="::1",
        DATABASE_POSTGRES_DB_NAME="x y",
        DATABASE_POSTGRES_SSL_MODE="verify-full",
    )
    assert made == "postgresql://a%40b:p%3A%2F%3F%23@[::1]:5431/x%20y?sslmode=verify-full"


def test_database_dsn_unix_socket_goes_into_the_query() -> None:
    assert dsn(DATABASE_POSTGRES_HOST="/run/pg").endswith(
        "/hatchet?host=%2Frun%2Fpg&port=5431&sslmode=disable"
    )


@pytest.mark.parametrize(
    ("environ", "security"),
    [
        ({}, "tls"),
        ({"SERVER_TLS_STRATEGY": "mtls"}, "mtls"),
        ({"SERVER_TLS_STRATEGY": "none"}, "plaintext"),
        ({"SERVER_TLS_STRATEGY": "mtls", "SERVER_GRPC_INSECURE": "t"}, "plaintext"),
    ],
)
def test_grpc_security_insecure_wins_over_strategy(environ: dict[str, str], security: str) -> None:
    assert load_settings(environ).settings.grpc_security == security


def test_settings_are_frozen() -> None:
    settings: Settings = defaults()
    with pytest.raises(AttributeError):
        settings.grpc.port = 1  # type: ignore[misc]
