"""`broadaxe migrate`, `seed`, `keys`, `token`, `config`: the commands that end.

Each imports what it needs when it runs, so that no other command waits for it.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from broadaxe.cli.options import ConfigDir, Json, settings, warn
from broadaxe.cli.output import as_json, console, table

keys = typer.Typer(no_args_is_help=True, help="Keys that sign tokens and protect secrets.")
token = typer.Typer(no_args_is_help=True, help="API tokens for SDKs.")
config = typer.Typer(no_args_is_help=True, help="Check and show the settings.")

Tenant = Annotated[
    UUID | None,
    typer.Option("--tenant-id", help="The tenant; the seeded one when left out.", show_default=False),
]


def migrate(config: ConfigDir = None) -> None:
    """Bring the database's tables up to this version."""
    from broadaxe.app import admin

    loaded = settings(config)
    applied = asyncio.run(admin.migrate(loaded.settings))
    for name in applied:
        console.print(f"applied {name}")
    console.print("the database is up to date")


def seed(config: ConfigDir = None) -> None:
    """Make the first tenant and its administrator, from ADMIN_* and DEFAULT_TENANT_*; safe to repeat."""
    from broadaxe.app import admin

    loaded = settings(config)
    tenant_id = asyncio.run(admin.seed(loaded.settings))
    console.print(f"tenant {tenant_id}")


@keys.command("create")
def create_keys(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Write the keysets into files here and print the variables that name them."
        ),
    ] = None,
) -> None:
    """Make the three keysets. Without --dir they are printed as variables, secrets in clear."""
    from broadaxe.app import admin

    for line in admin.create_keys(directory):
        typer.echo(line)


@token.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="What the token is for.")] = "default",
    tenant_id: Tenant = None,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How long it is valid.")] = 90,
    config: ConfigDir = None,
    json_output: Json = False,
) -> None:
    """Make a token and print it: it is shown this once."""
    from broadaxe.app import admin

    loaded = settings(config)
    made = asyncio.run(admin.create_token(loaded.settings, tenant_id, name, timedelta(days=days)))
    if json_output:
        as_json({"id": str(made.id), "token": made.token, "expiresAt": made.expires_at.isoformat()})
    else:
        typer.echo(made.token)


@token.command("list")
def list_tokens(tenant_id: Tenant = None, config: ConfigDir = None, json_output: Json = False) -> None:
    """The tenant's tokens, never their text."""
    from broadaxe.app import admin

    rows = asyncio.run(admin.list_tokens(settings(config).settings, tenant_id))
    if json_output:
        as_json(
            [
                {
                    "id": str(row.id),
                    "name": row.name,
                    "createdAt": row.created_at.isoformat(),
                    "expiresAt": row.expires_at.isoformat(),
                    "revoked": row.revoked,
                }
                for row in rows
            ]
        )
        return
    table(
        ("id", "name", "created", "expires", "state"),
        [
            (
                str(row.id),
                row.name,
                row.created_at.isoformat()[:19],
                row.expires_at.isoformat()[:19],
                "revoked" if row.revoked else "valid",
            )
            for row in rows
        ],
    )


@token.command("revoke")
def revoke_token(
    token_id: Annotated[UUID, typer.Argument(help="The token's id, from `token list`.", show_default=False)],
    tenant_id: Tenant = None,
    config: ConfigDir = None,
) -> None:
    """Void a token; running servers notice within CACHE_DURATION."""
    from broadaxe.app import admin

    if not asyncio.run(admin.revoke_token(settings(config).settings, tenant_id, token_id)):
        typer.echo(f"broadaxe: no token {token_id}", err=True)
        raise typer.Exit(1)
    console.print(f"revoked {token_id}")


@config.command("check")
def check_config(config: ConfigDir = None) -> None:
    """Read every setting; one line and exit code 2 for each that is wrong."""
    from broadaxe.app import admin

    loaded = settings(config)
    admin.check(loaded.settings)
    warn(loaded)
    console.print("the settings are good")


@config.command("show")
def show_config(
    config: ConfigDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Defaults too.")] = False,
    json_output: Json = False,
) -> None:
    """Each setting, its value (secrets redacted) and where it came from."""
    from broadaxe.config.document import redacted

    loaded = settings(config)
    rows = [row for row in redacted(loaded.settings) if everything or row.origin != "default"]
    if json_output:
        as_json([{"name": row.name, "value": row.value, "origin": row.origin} for row in rows])
    else:
        table(("variable", "value", "origin"), [(row.name, str(row.value), row.origin) for row in rows])
    warn(loaded)
