"""The page `docs/cli.md`, made from the commands themselves."""

import inspect
from typing import Any

import typer.main

from broadaxe.cli.main import app


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
