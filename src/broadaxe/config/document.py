"""The generated reference of settings, and the listing of a process's settings without its secrets.

`python -m broadaxe.config.document docs/configuration.md` writes the reference, with
`--check` it only compares.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from broadaxe.config.declare import Setting, Status, info_of
from broadaxe.config.errors import REDACTED
from broadaxe.config.settings import SECTIONS, Section, Settings, every_setting

_INTRODUCTION = """\
# Configuration

This page is generated from the declarations in `src/broadaxe/config/sections/`; change it there.

A value is looked for on the command line, then in the environment, then in the YAML file (`server.yaml` or
`database.yaml` in the directory given by `--config`), and the first one found counts; otherwise the default
does. An empty value counts as not given, wherever it stands. `broadaxe config show` lists every value with
its origin, `broadaxe config check` reads them and stops.

- A bad value stops the start with exit code 2 and one line that names the setting, the value and what is
  allowed; all bad values are told at once. Secrets are never shown.
- A variable that begins with `SERVER_` or `DATABASE_` and is not on this page is warned of once, and so is a
  YAML key that is not on this page.
- Switches take `true`, `t`, `1`, `false`, `f`, `0`; durations are written `250ms`, `5s`, `1h30m`, `720h`.
- "accepted, not used yet": the value is checked, its feature is still to come. "ignored": the value has no
  effect, for the reason given; it is accepted so that files written for Hatchet start as they are.

`OTEL_*` variables tune what the `SERVER_OTEL_*` settings leave open. The collector's address, the switch, the
service's name and the share of traces come from `SERVER_OTEL_*` alone: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and `OTEL_SDK_DISABLED` have no effect, since clusters set them
everywhere. A bad value of an `OTEL_*` variable is warned of, and its default is used.
"""


class Row(NamedTuple):
    """One line of `broadaxe config show`: the variable, its value or `***`, and where it came from."""

    name: str
    value: str
    origin: str


def redacted(settings: Settings) -> tuple[Row, ...]:
    """Every setting with its value as text; a secret that has a value is shown as `***`."""
    rows = []
    for part, attribute, setting in every_setting():
        value = setting.kind.show(getattr(getattr(settings, part.attribute), attribute))
        shown = REDACTED if setting.secret and value else value
        rows.append(Row(setting.variable, shown, settings.origin(setting.variable)))
    return tuple(rows)


def document() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(part) for part in SECTIONS)])


def _section(part: Section) -> str:
    lines = [
        f"## {part.title}",
        "",
        f"{' '.join((part.cls.__doc__ or '').split())} YAML keys are in `{info_of(part.cls).file}`.",
        "",
        "| variable | YAML key | type | default | meaning | status |",
        "|---|---|---|---|---|---|",
        *(_row(setting) for _, setting in part.settings()),
        "",
    ]
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    names = ", ".join(f"`{name}`" for name in (setting.variable, *setting.aliases))
    key = f"`{setting.key}`" if setting.key else "-"
    kind = setting.kind.label if setting.kind.label == "text" else setting.kind.allowed
    default = f"`{setting.default}`" if setting.default else "-"
    status = setting.status.value
    if setting.status is Status.IGNORED:
        status = f"{status}: {setting.reason}"
    meaning = f"{setting.meaning} Secret." if setting.secret else setting.meaning
    cells = (names, key, kind, default, meaning, status)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: Sequence[str]) -> int:
    """Write the page to the given path; with `--check`, 1 when the file there differs."""
    check = "--check" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if len(paths) != 1:
        sys.stderr.write("usage: python -m broadaxe.config.document [--check] PATH\n")
        return 2
    text = document()
    if not check:
        paths[0].write_text(text, encoding="utf-8")
        return 0
    if paths[0].is_file() and paths[0].read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{paths[0]} is not what the declarations say; write it anew\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
