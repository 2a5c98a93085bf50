"""Generates `docs/cli.md` from the commands themselves: `python -m broadaxe.cli.document [--check]`."""

import sys
from pathlib import Path

import click
import typer.main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def page() -> str:
    """The page's text."""
    from broadaxe.cli.main import app

    root = typer.main.get_command(app)
    parts = [
        "# Command line\n",
        "Generated from the commands; `broadaxe COMMAND --help` says the same.\n",
        "Exit codes: 0 done, 1 failed, 2 bad settings or arguments.\n",
    ]
    parts += _section(root, ["broadaxe"])
    return "\n".join(parts)


def _section(command: click.Command, path: list[str]) -> list[str]:
    lines: list[str] = []
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        for name in subcommands:
            lines += _section(subcommands[name], [*path, name])
        return lines
    context = click.Context(command, info_name=" ".join(path))
    lines.append(f"## `{' '.join(path)}`\n")
    lines.append((command.help or "").strip() + "\n")
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None and isinstance(parameter, click.Argument):
            rows.append((parameter.make_metavar(context), getattr(parameter, "help", "") or ""))
        elif record is not None:
            rows.append((record[0], record[1]))
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
