"""The `broadaxe` command: exit codes 0 done, 1 failed, 2 bad settings or arguments."""

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from broadaxe.cli import admin, doctor, runs, serve, traces
from broadaxe.cli.client import BadEnvironment, ClientError
from broadaxe.config.errors import SettingsError
from broadaxe.domain.errors import BroadaxeError

app = typer.Typer(
    name="broadaxe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A durable task and workflow engine on PostgreSQL that can be watched from the inside.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("broadaxe"))
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A durable task and workflow engine on PostgreSQL that can be watched from the inside."""


app.command("dev")(serve.dev)
app.command("server")(serve.server)
app.command("engine")(serve.engine)
app.command("api")(serve.api)
app.command("doctor")(doctor.doctor)
app.command("migrate")(admin.migrate)
app.command("seed")(admin.seed)
app.add_typer(admin.keys, name="keys")
app.add_typer(admin.token, name="token")
app.add_typer(admin.config, name="config")
app.add_typer(runs.app, name="run")
app.add_typer(traces.app, name="traces")


def main() -> None:
    """Entry point: one clear line instead of a traceback for what a person can mend."""
    # Commands that end tell what happened themselves; those that stay set up logs of their own.
    logging.getLogger("broadaxe").addHandler(logging.NullHandler())
    try:
        code = app(prog_name="broadaxe", standalone_mode=False)
    except TyperException as error:
        if text := error.format_message():
            typer.echo(f"broadaxe: {' '.join(text.split())}", err=True)
        sys.exit(error.exit_code)
    except Abort:
        sys.exit(1)
    except SettingsError as error:
        for line in error.lines:
            typer.echo(f"broadaxe: {line}", err=True)
        sys.exit(error.exit_code)
    except BadEnvironment as error:
        typer.echo(f"broadaxe: {error}", err=True)
        sys.exit(2)
    except (ClientError, BroadaxeError) as error:
        typer.echo(f"broadaxe: {error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
