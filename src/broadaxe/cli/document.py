"""Generates `docs/cli.md` from the commands themselves: `python -m broadaxe.cli.document [--check]`."""

import inspect
import sys
from pathlib import Path
from typing import Any

import typer.main

from broadaxe.cli.main import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def page() -> str:
    """The page's text."""
    parts = [
        "# Command line\n",
        "Generated from the commands; `broadaxe COMMAND --help` says the same.\n",
        "Exit codes: 0 done, 1 failed, 2 bad settings or arguments.\n",
    ]
    return "\n".join([*parts, *_section(typer.main.get_command(app), ["broadaxe"])])


def _section(command: Any, path: list[str]) -> list[str]:
    # typer carries its own copy of click, whose classes are not public: hence no narrower type.
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        return [line for name in subcommands for line in _section(subcommands[name], [*path, name])]
    context = command.make_context(" ".join(path), [], resilient_parsing=True)
    lines = [f"## `{' '.join(path)}`\n", inspect.cleandoc(command.help or "") + "\n"]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            rows.append(record)
    if rows:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {meaning.replace('|', '/')} |" for name, meaning in rows]
        lines.append("")
    return lines


def main() -> int:
    """Write the page, or with `--check` say whether it is current."""
    text = page()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text() == text
        if not current:
            print(f"{PAGE.name} is stale: run `make docs`", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
