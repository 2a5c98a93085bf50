"""Which variables reach which service, and which of two wins."""

import re
from typing import Any

import pytest

from broadaxe.config.loader import load_settings
from broadaxe.config.settings import every_setting
from tests.deploy.chart import CHART, EXTERNAL, OUTSIDE, Helm, Object, Rendered, merged
from tests.deploy.matrix import EVERYTHING, OTEL

ENGINE = ("Deployment", "hatchet-engine", "engine")
API = ("Deployment", "hatchet-stack-api", "api")
SEED = ("Job", "hatchet-stack-migration", "seed")
MIGRATE = ("Job", "hatchet-stack-migration", "migrate")
TOKEN = ("Job", "hatchet-stack-worker-token", "token")
BACKEND = (ENGINE, API)
EVERY = (ENGINE, API, SEED, MIGRATE, TOKEN)


def seen(rendered: Rendered, place: tuple[str, str, str], **given: dict[str, str]) -> dict[str, str]:
    """The environment of a container; `given` are Secrets that exist outside, `_` for `-`."""
    kind, name, container = place
    secrets = {key.replace("_", "-"): value for key, value in given.items()}
    return rendered.environment(rendered.container(kind, name, container), secrets)


@pytest.mark.parametrize("place", EVERY, ids=lambda place: place[2])
def test_shared_values_reach_every_backend_service(helm: Helm, place: tuple[str, str, str]) -> None:
    values = merged(
        EXTERNAL,
        {
            "sharedConfig": {
                "serverUrl": "https://jobs.example.com",
                "serverAuthCookieDomain": "jobs.example.com",
                "serverAuthCookieInsecure": "f",
                "grpcBroadcastAddress": "engine.example.com:443",
                "grpcInsecure": "false",
                "env": {"SERVER_LOGGER_LEVEL": "info"},
            }
        },
    )
    environment = seen(helm.template(values), place)
    assert environment["SERVER_URL"] == "https://jobs.example.com"
    assert environment["SERVER_AUTH_COOKIE_DOMAIN"] == "jobs.example.com"
    assert environment["SERVER_AUTH_COOKIE_INSECURE"] == "f"
    assert environment["SERVER_AUTH_SET_EMAIL_VERIFIED"] == "t"
    assert environment["SERVER_AUTH_BASIC_AUTH_ENABLED"] == "t"
    assert environment["SERVER_GRPC_BROADCAST_ADDRESS"] == "engine.example.com:443"
    assert environment["SERVER_GRPC_INSECURE"] == "false"
    assert environment["SERVER_LOGGER_LEVEL"] == "info"
    assert environment["DATABASE_URL"] == "postgres://u:p@db.example.com/hatchet"
    assert environment["K8S_POD_NAME"] == "field:metadata.name"
    assert environment["K8S_POD_NAMESPACE"] == "field:metadata.namespace"


def test_service_env_wins_over_shared_env_wins_over_shared_values(helm: Helm) -> None:
    rendered = helm.template(
        merged(
            EXTERNAL,
            {
                "sharedConfig": {
                    "serverUrl": "http://one",
                    "env": {
                        "SERVER_URL": "http://two",
                        "SERVER_LOGGER_LEVEL": "info",
                        "K8S_POD_NAME": "fixed",
                    },
                },
                "engine": {"env": {"SERVER_LOGGER_LEVEL": "debug", "SERVER_OTEL_SERVICE_NAME": "mine"}},
            },
        )
    )
    engine, api = seen(rendered, ENGINE), seen(rendered, API)
    assert (engine["SERVER_URL"], api["SERVER_URL"]) == ("http://two", "http://two")
    assert (engine["SERVER_LOGGER_LEVEL"], api["SERVER_LOGGER_LEVEL"]) == ("debug", "info")
    assert (engine["SERVER_OTEL_SERVICE_NAME"], api["SERVER_OTEL_SERVICE_NAME"]) == ("mine", "hatchet-api")
    assert engine["K8S_POD_NAME"] == "fixed"


def test_env_from_wins_over_the_chart_s_own_and_loses_to_env(helm: Helm) -> None:
    values = merged(
        EXTERNAL,
        {
            "sharedConfig": {"env": {"SERVER_LOGGER_LEVEL": "info"}},
            "api": {"deploymentEnvFrom": [{"secretRef": {"name": "more"}}]},
        },
    )
    more = {"SERVER_URL": "http://more", "SERVER_LOGGER_LEVEL": "error", "ADMIN_PASSWORD": "theirs"}
    rendered = helm.template(values)
    assert seen(rendered, API, more=more)["SERVER_URL"] == "http://more"
    assert seen(rendered, API, more=more)["SERVER_LOGGER_LEVEL"] == "info"
    assert seen(rendered, SEED, more=more)["ADMIN_PASSWORD"] == "theirs"
    assert "ADMIN_PASSWORD" not in seen(rendered, ENGINE, more=more)


def test_empty_text_in_service_env_wins_over_shared_env(helm: Helm) -> None:
    rendered = helm.template(
        merged(
            EXTERNAL,
            {
                "sharedConfig": {"env": {"SERVER_OTEL_COLLECTOR_URL": "collector:4317"}},
                "api": {"env": {"SERVER_OTEL_COLLECTOR_URL": ""}},
            },
        )
    )
    assert seen(rendered, ENGINE)["SERVER_OTEL_COLLECTOR_URL"] == "collector:4317"
    assert seen(rendered, API)["SERVER_OTEL_COLLECTOR_URL"] == ""


def test_disabled_shared_config_reaches_nobody(helm: Helm) -> None:
    rendered = helm.template({"sharedConfig": {"enabled": False, "env": {"SERVER_LOGGER_LEVEL": "info"}}})
    for place in BACKEND:
        environment = seen(rendered, place)
        assert "SERVER_URL" not in environment
        assert "SERVER_LOGGER_LEVEL" not in environment


@pytest.mark.parametrize(
    ("value", "text"),
    [(10_000_000, "10000000"), (0.25, "0.25"), (True, "true"), (0, "0"), ("1e6", "1e6"), ("f", "f")],
)
def test_values_that_are_no_text_are_written_as_they_were(helm: Helm, value: Any, text: str) -> None:
    rendered = helm.template({"engine": {"env": {"SERVER_GRPC_RATE_LIMIT": value}}})
    assert seen(rendered, ENGINE)["SERVER_GRPC_RATE_LIMIT"] == text


def test_env_takes_references(helm: Helm) -> None:
    reference = {"secretKeyRef": {"name": "db", "key": "url"}}
    values = {
        "postgres": {"enabled": False},
        "sharedConfig": {"env": {"DATABASE_URL": {"valueFrom": reference}}},
    }
    rendered = helm.template(values)
    for place in EVERY:
        entries = {one["name"]: one for one in rendered.container(*place)["env"]}
        assert entries["DATABASE_URL"] == {"name": "DATABASE_URL", "valueFrom": reference}


# -- otel ---------------------------------------------------------------------------------------------------


def test_otel_values_become_settings_of_both_services(helm: Helm) -> None:
    rendered = helm.template(OTEL)
    for place, name in ((ENGINE, "hatchet-engine"), (API, "hatchet-api")):
        environment = seen(rendered, place)
        assert environment["SERVER_OTEL_COLLECTOR_URL"] == "collector.example.com:4317"
        assert environment["SERVER_OTEL_INSECURE"] == "true"
        assert environment["SERVER_OTEL_TRACE_ID_RATIO"] == "0.25"
        assert environment["SERVER_OTEL_METRICS_ENABLED"] == "true"
        assert environment["SERVER_OTEL_SERVICE_NAME"] == name
        assert environment["SERVER_OTEL_COLLECTOR_AUTH"] == OUTSIDE
        assert environment["OTEL_EXPORTER_OTLP_CERTIFICATE"] == "/etc/broadaxe/otel/root.pem"
        pod = rendered.find(*place[:2])["spec"]["template"]["spec"]
        volume = next(one for one in pod["volumes"] if one["name"] == "otel-certificate")
        assert volume["secret"]["secretName"] == "collector-ca"
    auth = next(
        one for one in rendered.container(*ENGINE)["env"] if one["name"] == "SERVER_OTEL_COLLECTOR_AUTH"
    )
    assert auth["valueFrom"]["secretKeyRef"] == {"name": "collector-auth", "key": "authorization"}


def test_export_is_off_by_default(default: Rendered) -> None:
    for place in BACKEND:
        environment = default.environment(default.container(*place))
        assert "SERVER_OTEL_COLLECTOR_URL" not in environment
        assert "SERVER_OTEL_COLLECTOR_AUTH" not in environment


def test_otel_values_fill_only_what_env_leaves_open(helm: Helm) -> None:
    env = {
        "SERVER_OTEL_COLLECTOR_URL": "other:4317",
        "SERVER_OTEL_SERVICE_NAME": "shared-name",
        "SERVER_OTEL_COLLECTOR_AUTH": "Bearer mine",
    }
    rendered = helm.template(merged(OTEL, {"sharedConfig": {"env": env}}))
    for place in BACKEND:
        environment = seen(rendered, place)
        assert {name: environment[name] for name in env} == env
        assert environment["SERVER_OTEL_TRACE_ID_RATIO"] == "0.25"


def test_page_s_example_for_helm_holds(helm: Helm) -> None:
    """Collector by `sharedConfig.env`, distinct names by each service's `env`."""
    rendered = helm.template(
        {
            "sharedConfig": {"env": {"SERVER_OTEL_COLLECTOR_URL": "collector:4317"}},
            "engine": {"env": {"SERVER_OTEL_SERVICE_NAME": "the-engine"}},
            "api": {"env": {"SERVER_OTEL_SERVICE_NAME": "the-api"}},
        }
    )
    found = [seen(rendered, place) for place in BACKEND]
    assert [one["SERVER_OTEL_COLLECTOR_URL"] for one in found] == ["collector:4317"] * 2
    assert [one["SERVER_OTEL_SERVICE_NAME"] for one in found] == ["the-engine", "the-api"]


# -- secrets ------------------------------------------------------------------------------------------------


def test_list_of_secret_variables_is_that_of_the_settings() -> None:
    listed = (CHART / "files" / "secret-variables.txt").read_text().split()
    declared = {name for _, _, one in every_setting() if one.secret for name in (one.variable, *one.aliases)}
    assert listed == sorted(declared)


def _plain(rendered: Rendered) -> str:
    """Everything but the Secrets, as text."""
    return "\n".join(repr(one) for one in rendered.objects if one["kind"] != "Secret")


@pytest.mark.parametrize("postgres", [True, False], ids=["trial", "external"])
def test_secrets_are_never_in_plain_env(helm: Helm, postgres: bool) -> None:
    listed = (CHART / "files" / "secret-variables.txt").read_text().split()
    guessed = ["MY_SERVICE_PASSWORD", "SOME_API_KEY", "X_TOKEN", "SENTRY_DSN"]
    secret = {name: f"hidden-{number}" for number, name in enumerate([*listed, *guessed])}
    values: Object = {
        "postgres": {"enabled": postgres, "auth": {"password": "hidden-pg"}},
        "sharedConfig": {"defaultAdminPassword": "hidden-admin", "env": secret},
        "engine": {"env": {"SERVER_TLS_KEY": "hidden-engine"}},
    }
    rendered = helm.template(values)
    assert "hidden-" not in _plain(rendered)
    assert seen(rendered, ENGINE)["SERVER_TLS_KEY"] == "hidden-engine"
    for name, value in secret.items():
        assert seen(rendered, API)[name] == value


def test_settings_that_are_no_secrets_stay_readable(helm: Helm) -> None:
    rendered = helm.template(
        {"engine": {"env": {"SERVER_ENCRYPTION_MASTER_KEYSET_FILE": "/keys/master.key"}}}
    )
    entries = {one["name"]: one for one in rendered.container(*ENGINE)["env"]}
    assert entries["SERVER_ENCRYPTION_MASTER_KEYSET_FILE"]["value"] == "/keys/master.key"


# -- what broadaxe makes of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, EXTERNAL, EVERYTHING], ids=["trial", "external", "everything"])
def test_broadaxe_reads_the_environment_without_complaint(helm: Helm, values: Object) -> None:
    rendered = helm.template(values)
    trial = "-install" if not values else ""
    for kind, name, container in EVERY:
        place = (kind, name + (trial if kind == "Job" else ""), container)
        environment = {key: re.sub("^field:.*", "pod", value) for key, value in seen(rendered, place).items()}
        loaded = load_settings(environment)
        known = [one for one in loaded.warnings if "SERVER_PORT_NAME" not in one]
        assert known == []
        if container == "engine":
            assert loaded.settings.grpc.bind_address == "0.0.0.0"
            assert loaded.settings.grpc.port == 7070
            assert loaded.settings.runtime.healthcheck_port == 8733
        if container == "api":
            assert loaded.settings.runtime.port == 8080
            assert loaded.settings.internal_client.broadcast_address == "hatchet-engine:7070"
