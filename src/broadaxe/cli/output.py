"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
MOST_COLUMNS = 10_000
"""Characters of the widest table."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a plain table; cells are never shortened, since ids are there to be copied."""
    from rich.measure import Measurement  # only here: these take longer to load than most commands run
    from rich.table import Table

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*row)
    whole = Measurement.get(console, console.options.update(width=MOST_COLUMNS), drawn).maximum
    Console(highlight=False, width=max(console.width, whole)).print(drawn)


def as_json(value: object) -> None:
    """Print JSON, indented."""
    typer.echo(json.dumps(value, indent=2, default=str))
