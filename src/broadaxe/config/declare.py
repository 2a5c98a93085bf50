"""How a setting is declared: once, as a field of its section, with name, key, type, default and meaning."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar, cast, dataclass_transform

from broadaxe.config.kinds import Kind

T = TypeVar("T")

_METADATA = "broadaxe.setting"

SERVER_FILE = "server.yaml"
DATABASE_FILE = "database.yaml"


class Status(Enum):
    """What this version does with a setting."""

    USED = "used"
    LATER = "accepted, not used yet"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it can be written, what it may hold, and what it means.

    `variable` is the environment variable, `aliases` are older names of it, `key` the dotted YAML key (None:
    only the environment has it), `default` the text that stands when nothing is given. A bad value of a
    `lenient` setting is warned of and its default used: it has no effect here, or others than us set it.
    """

    variable: str
    key: str | None
    kind: Kind[Any]
    default: str
    meaning: str
    status: Status
    reason: str = ""
    secret: bool = False
    lenient: bool = False
    aliases: tuple[str, ...] = ()


def _declare(setting: Setting) -> Any:
    default = setting.kind.parse(setting.default)
    return field(default=default, repr=not setting.secret, metadata={_METADATA: setting})


def used(
    variable: str,
    key: str | None,
    kind: Kind[T],
    *,
    default: str,
    meaning: str,
    secret: bool = False,
    lenient: bool = False,
    aliases: tuple[str, ...] = (),
) -> T:
    """Declare a setting that this version acts on."""
    setting = Setting(
        variable, key, kind, default, meaning, Status.USED, "", secret, lenient=lenient, aliases=aliases
    )
    return cast("T", _declare(setting))


def later(
    variable: str, key: str | None, kind: Kind[T], *, default: str, meaning: str, secret: bool = False
) -> T:
    """Declare a setting that is read and checked, and whose feature is still to come."""
    return cast("T", _declare(Setting(variable, key, kind, default, meaning, Status.LATER, "", secret)))


def ignored(
    variable: str,
    key: str | None,
    kind: Kind[T],
    *,
    default: str,
    meaning: str,
    reason: str,
    secret: bool = False,
    aliases: tuple[str, ...] = (),
) -> T:
    """Declare a setting that is accepted, so that existing files start, without effect; `reason` says why."""
    setting = Setting(
        variable, key, kind, default, meaning, Status.IGNORED, reason, secret, lenient=True, aliases=aliases
    )
    return cast("T", _declare(setting))


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """The title of a section in the documentation, and the YAML file its keys live in."""

    title: str
    file: str


_INFO: dict[type, SectionInfo] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(used, later, ignored))
def section(title: str, *, file: str = SERVER_FILE) -> Callable[[type[T]], type[T]]:
    """Make a class of declared settings a frozen dataclass; without arguments it holds the defaults."""

    def make(cls: type[T]) -> type[T]:
        made: type[T] = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        _INFO[made] = SectionInfo(title, file)
        return made

    return make


def info_of(cls: type) -> SectionInfo:
    """Title and file of a section; `KeyError` for any other class."""
    return _INFO[cls]


def settings_of(cls: type) -> Iterator[tuple[str, Setting]]:
    """The attribute name and the declaration of every setting of a section, in written order."""
    for item in fields(cls):
        setting = item.metadata.get(_METADATA)
        if isinstance(setting, Setting) and item.default is not MISSING:
            yield item.name, setting
