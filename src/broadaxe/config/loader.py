"""Loading: flags over environment over YAML files over defaults, every bad value told at once."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broadaxe.config.declare import DATABASE_FILE, SERVER_FILE, Setting
from broadaxe.config.errors import Problem, SettingsError, shown
from broadaxe.config.files import FileValue, FileValues, read_yaml
from broadaxe.config.settings import Settings, build, every_setting

_OURS = ("SERVER_", "DATABASE_")


@dataclass(frozen=True, slots=True)
class Flag:
    """A value given on the command line: the option as typed (`--grpc-port`) and its text."""

    option: str
    value: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what the operator should be told once: unknown names and values left aside."""

    settings: Settings
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """One value as found: its text, its name there, where it stands and how that is told."""

    text: str
    name: str
    place: str

    @property
    def origin(self) -> str:
        return self.place if self.name in self.place else f"{self.place} {self.name}"


@dataclass(slots=True)
class _Load:
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load_settings(
    environ: Mapping[str, str],
    *,
    config_dir: Path | None = None,
    flags: Mapping[str, Flag] | None = None,
    defaults: Mapping[str, str] | None = None,
    defaults_origin: str = "default of this command",
) -> Loaded:
    """Read every setting.

    `flags` and `defaults` are keyed by environment variable; `defaults` are what a command (such as `dev`)
    uses in place of the usual defaults: anything else wins over them. An empty text counts as not given,
    wherever it stands.
    Raises `SettingsError` with one problem for each bad value.
    """
    flags = flags or {}
    defaults = defaults or {}
    known = {item.variable for _, _, item in every_setting()}
    if foreign := (flags.keys() | defaults.keys()) - known:
        raise KeyError(f"no such setting: {', '.join(sorted(foreign))}")
    files = _read_files(config_dir)
    load = _Load()
    for part, _, setting in every_setting():
        given = (
            _from_flag(setting, flags)
            or _from_environment(setting, environ)
            or _from_file(setting, files[part.file], load)
            or _from_defaults(setting, defaults, defaults_origin)
        )
        if given is not None:
            _take(setting, given, load)
    load.warnings.extend(_unknown_variables(environ))
    load.warnings.extend(_unknown_keys(files))
    load.warnings.extend(_queue_warning(load))
    if load.problems:
        raise SettingsError(tuple(load.problems))
    return Loaded(build(load.values, load.origins), tuple(load.warnings))


def _read_files(config_dir: Path | None) -> dict[str, FileValues]:
    files = {name: FileValues(name, {}, {}) for name in (SERVER_FILE, DATABASE_FILE)}
    if config_dir is None:
        return files
    if not config_dir.is_dir():
        raise SettingsError.single("--config", f"{shown(str(config_dir), secret=False)} is not a directory")
    for name in files:
        if (config_dir / name).exists():
            files[name] = read_yaml(config_dir / name)
    return files


def _from_flag(setting: Setting, flags: Mapping[str, Flag]) -> _Given | None:
    flag = flags.get(setting.variable)
    return _Given(flag.value, flag.option, "flag") if flag is not None and flag.value else None


def _from_environment(setting: Setting, environ: Mapping[str, str]) -> _Given | None:
    for name in (setting.variable, *setting.aliases):
        if text := environ.get(name):
            return _Given(text, name, "environment")
    return None


def _from_file(setting: Setting, file: FileValues, load: _Load) -> _Given | None:
    if setting.key is None:
        return None
    place = f"{file.name}:{file.leaves[setting.key].line}" if setting.key in file.leaves else file.name
    if setting.key in file.branches:
        message = f"it holds keys where a value belongs; allowed: {setting.kind.allowed}"
        load.problems.append(Problem(setting.key, f"{file.name}:{file.branches[setting.key]}", message))
        return None
    leaf = file.leaves.get(setting.key)
    if leaf is None:
        return None
    text = _text(setting, leaf)
    if text is None:
        message = f"a list is not allowed here; allowed: {setting.kind.allowed}"
        load.problems.append(Problem(setting.key, place, message))
        return None
    return _Given(text, setting.key, place) if text else None


def _text(setting: Setting, leaf: FileValue) -> str | None:
    if leaf.text is None:
        return setting.kind.separator.join(leaf.items) if setting.kind.separator is not None else None
    if setting.kind.is_switch and leaf.switch is not None:
        return "true" if leaf.switch else "false"
    return leaf.text


def _from_defaults(setting: Setting, defaults: Mapping[str, str], origin: str) -> _Given | None:
    text = defaults.get(setting.variable)
    return _Given(text, "", origin) if text else None


def _take(setting: Setting, given: _Given, load: _Load) -> None:
    name = given.name or setting.variable
    try:
        value = setting.kind.parse(given.text)
    except ValueError as error:
        value_text = shown(given.text, secret=setting.secret)
        message = f"{value_text} is not allowed: {error}; allowed: {setting.kind.allowed}"
        problem = Problem(name, given.place, message)
        if setting.lenient:
            load.warnings.append(f"{problem}; its default is used")
        else:
            load.problems.append(problem)
        return
    load.values[setting.variable] = value
    load.origins[setting.variable] = given.origin.strip()


def _unknown_variables(environ: Mapping[str, str]) -> Iterable[str]:
    known = {name for _, _, item in every_setting() for name in (item.variable, *item.aliases)}
    for name in sorted(environ):
        if name.startswith(_OURS) and name not in known:
            hint = _nearest(name, known)
            yield f"{shown_name(name)} (environment) is not a setting and has no effect{hint}"


def _unknown_keys(files: Mapping[str, FileValues]) -> Iterable[str]:
    keys: dict[str, set[str]] = {name: set() for name in files}
    for part, _, setting in every_setting():
        if setting.key is not None:
            keys[part.file].add(setting.key)
    for name, file in files.items():
        for key, leaf in file.leaves.items():
            if key not in keys[name]:
                hint = _nearest(key, keys[name])
                yield f"{shown_name(key)} ({name}:{leaf.line}) is not a setting and has no effect{hint}"


def shown_name(name: str) -> str:
    """A foreign name made fit for one line."""
    return name.encode("unicode_escape").decode("ascii")[:120]


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    return f"; did you mean {found[0]}?" if found else ""


def _queue_warning(load: _Load) -> Iterable[str]:
    """One warning for whatever asks for RabbitMQ or NATS."""
    asked = [
        item.variable
        for part, _, item in every_setting()
        if part.attribute == "msgqueue" and _asks_for_another_queue(item, load)
    ]
    if asked:
        yield f"{', '.join(asked)}: RabbitMQ and NATS are not used; the message queue is PostgreSQL"


def _asks_for_another_queue(item: Setting, load: _Load) -> bool:
    if item.variable not in load.values:
        return False
    if item.variable.endswith("_KIND"):
        return load.values[item.variable] in {"rabbitmq", "nats"}
    return "RABBITMQ" in item.variable or "NATS" in item.variable
