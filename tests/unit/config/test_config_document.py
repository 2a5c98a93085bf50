"""The table of settings: whole, current in the documentation, and silent about secrets."""

from pathlib import Path

import pytest

from broadaxe.config import SettingsError, load_settings
from broadaxe.config.declare import Status
from broadaxe.config.document import document, main, redacted
from broadaxe.config.settings import SECTIONS, every_setting

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
CANARY = "canary-3f9a"
OUR_DEFAULTS = {
    "SERVER_TASKQUEUE_KIND",  # PostgreSQL is the message queue
    "SERVER_MSGQUEUE_KIND",
    "SERVER_SERVICES",  # `all`, said outright
    "SERVER_TLS_MIN_VERSION",  # 1.3, said outright
    "SERVER_LOGGER_FORMAT",  # by whether there is a terminal
    "SERVER_ADDITIONAL_LOGGERS_QUEUE_FORMAT",
    "SERVER_ADDITIONAL_LOGGERS_PGXSTATS_FORMAT",
    "DATABASE_LOGGER_FORMAT",
    "SERVER_SECURITY_CHECK_ENDPOINT",  # nothing is called
}


def hatchet_variables() -> list[tuple[str, str | None, str]]:
    lines = (Path(__file__).parent / "hatchet_variables.txt").read_text().splitlines()[1:]
    rows = [line.split("|") for line in lines]
    return [(variable, key or None, "" if default == "-" else default) for variable, key, default in rows]


def test_table_has_every_variable_of_hatchet_with_its_key_and_default() -> None:
    table = {name: item for _, _, item in every_setting() for name in (item.variable, *item.aliases)}
    assert len(hatchet_variables()) > 240
    for variable, key, default in hatchet_variables():
        assert variable in table, variable
        item = table[variable]
        if key is not None:
            assert item.key == key, variable
        if variable not in OUR_DEFAULTS:
            same = item.kind.parse(default) if default else item.kind.parse(item.default)
            assert item.kind.parse(item.default) == same, variable
        assert default or variable in OUR_DEFAULTS or item.default in {"", "false"}, variable


def test_table_names_and_keys_are_unique() -> None:
    names = [name for _, _, item in every_setting() for name in (item.variable, *item.aliases)]
    assert len(names) == len(set(names))
    keys = [(part.file, item.key) for part, _, item in every_setting() if item.key is not None]
    assert len(keys) == len(set(keys))


def test_table_entries_have_a_meaning_and_ignored_ones_a_reason() -> None:
    for part, _, item in every_setting():
        assert item.meaning.endswith("."), item.variable
        assert (item.status is Status.IGNORED) == bool(item.reason), item.variable
        assert part.cls.__doc__


def test_table_names_that_sound_secret_are_secret() -> None:
    words = (
        "PASSWORD",
        "SECRET",
        "_AUTH_TOKEN",
        "API_KEY",
        "_DSN",
        "CREDENTIALS",
        "COLLECTOR_AUTH",
        "DATABASE_URL",
    )
    for _, _, item in every_setting():
        sounds = item.variable.endswith((*words, "_KEYSET", "_TLS_KEY", "BASE_KEY"))
        if sounds and item.kind.label != "switch":
            assert item.secret, item.variable


def test_document_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), (
        "run: python -m broadaxe.config.document docs/configuration.md"
    )


def test_document_names_every_variable_once() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(1 for _ in every_setting())
    for part in SECTIONS:
        assert f"## {part.title}\n" in document()


def test_document_check_tells_a_stale_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert main(["--check", str(page)]) == 1
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0
    page.write_text("old")
    assert main(["--check", str(page)]) == 1
    assert main([]) == 2


def secret_value(variable: str) -> str:
    if variable.endswith("DATABASE_URL") or variable == "DATABASE_PGBOUNCER_URL":
        return f"postgres://u:{CANARY}@h/d"
    return CANARY


def test_redacted_listing_shows_no_secret_and_every_origin() -> None:
    secrets = [item.variable for _, _, item in every_setting() if item.secret]
    assert len(secrets) >= 20
    environ = {variable: secret_value(variable) for variable in secrets} | {"SERVER_PORT": "81"}
    loaded = load_settings(environ)
    rows = {row.name: row for row in redacted(loaded.settings)}
    for variable in secrets:
        assert rows[variable].value == "***", variable
        assert rows[variable].origin == f"environment {variable}"
    assert rows["SERVER_PORT"] == ("SERVER_PORT", "81", "environment SERVER_PORT")
    assert rows["SERVER_GRPC_PORT"].origin == "default"
    assert CANARY not in repr(loaded.settings) + repr(loaded) + str(list(rows.values())) + "".join(
        loaded.warnings
    )
    assert "***" not in {
        row.value for row in redacted(load_settings({}).settings) if row.name in {"SERVER_TLS_KEY"}
    }


def test_settings_error_shows_no_secret() -> None:
    bad = {
        "DATABASE_URL": f"mysql://u:{CANARY}@h",
        "READ_REPLICA_DATABASE_URL": f"postgres://u:{CANARY}@h:port/d",
        "DATABASE_PGBOUNCER_URL": f"postgres://h/d?sslmode={CANARY}",
    }
    with pytest.raises(SettingsError) as caught:
        load_settings(bad)
    assert len(caught.value.lines) == 3
    assert CANARY not in str(caught.value) + repr(caught.value) + repr(caught.value.problems)


def test_yaml_secret_of_a_wrong_shape_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "database.yaml").write_text(f"password: [{CANARY}]\nurl: {{{CANARY}: 1}}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, config_dir=tmp_path)
    assert CANARY not in str(caught.value)
