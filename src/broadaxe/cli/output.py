"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a plain table."""
    from rich.table import Table  # only here: it takes longer to load than most commands run

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def as_json(value: object) -> None:
    """Print JSON, indented."""
    typer.echo(json.dumps(value, indent=2, default=str))
