"""Options that many commands share, and how they become settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from broadaxe.config.loader import Loaded

ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Directory with server.yaml and database.yaml.", file_okay=False, show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings(
    config_dir: Path | None,
    flags: Mapping[str, tuple[str, object | None]] | None = None,
    defaults: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> "Loaded":
    """Load the settings; `flags` maps a variable to the option's name and its value (None = not given)."""
    from broadaxe.config.loader import Flag, load_settings

    given = {
        variable: Flag(option, str(value))
        for variable, (option, value) in (flags or {}).items()
        if value is not None
    }
    return load_settings(
        os.environ if environ is None else environ, config_dir=config_dir, flags=given, defaults=defaults
    )


def warn(loaded: "Loaded") -> None:
    """Tell the operator once what was ignored."""
    for text in loaded.warnings:
        typer.echo(f"broadaxe: warning: {text}", err=True)
