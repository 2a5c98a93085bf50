"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Column, Table

WIDE = 1000
"""Columns where the output is no terminal: nothing is cut off for a program that reads it."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a plain table; what does not fit goes on in the next line, and nothing is left out."""
    drawn = Table(
        *(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False, header_style="bold"
    )
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def as_json(value: object) -> None:
    """Print JSON, indented."""
    typer.echo(json.dumps(value, indent=2, default=str))
