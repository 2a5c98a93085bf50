"""`broadaxe dev`, `server`, `engine`, `api`: the commands that stay."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from broadaxe.app import dev as dev_app
from broadaxe.app.process import Roles, serve
from broadaxe.cli.options import ConfigDir, settings
from broadaxe.config.loader import Loaded

GrpcPort = Annotated[
    int | None,
    typer.Option("--grpc-port", min=0, max=65535, help="gRPC port; 0 = any free one.", show_default=False),
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="REST port; 0 = any free one.", show_default=False),
]
HealthPort = Annotated[
    int | None,
    typer.Option(
        "--health-port", min=0, max=65535, help="Engine health port; 0 = any free one.", show_default=False
    ),
]


def _flags(grpc_port: int | None, port: int | None, health_port: int | None) -> dict[str, tuple[str, object]]:
    flags = {
        "SERVER_GRPC_PORT": ("--grpc-port", grpc_port),
        "SERVER_PORT": ("--port", port),
        "SERVER_HEALTHCHECK_PORT": ("--health-port", health_port),
    }
    return {variable: (option, value) for variable, (option, value) in flags.items() if value is not None}


def _run(loaded: Loaded, roles: Roles) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(loaded, roles))
    raise typer.Exit(code)


def dev(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="Where the database, keys and ports are kept.", file_okay=False)
    ] = Path(".broadaxe/dev"),
    config: ConfigDir = None,
    grpc_port: GrpcPort = None,
    port: Port = None,
    health_port: HealthPort = None,
) -> None:
    """Engine and API server in one process, on an embedded PostgreSQL unless DATABASE_URL is set.

    Needs no setting. Writes `client.env` for SDKs into the data directory and prints one `ready` line.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(dev_app.run(data_dir.resolve(), config, _flags(grpc_port, port, health_port)))
    raise typer.Exit(code)


def server(
    config: ConfigDir = None,
    grpc_port: GrpcPort = None,
    port: Port = None,
    health_port: HealthPort = None,
) -> None:
    """Engine and API server in one process, on your own PostgreSQL."""
    _run(settings(config, _flags(grpc_port, port, health_port)), Roles(engine=True, api=True))


def engine(config: ConfigDir = None, grpc_port: GrpcPort = None, health_port: HealthPort = None) -> None:
    """The engine alone (gRPC)."""
    _run(settings(config, _flags(grpc_port, None, health_port)), Roles(engine=True, api=False))


def api(config: ConfigDir = None, port: Port = None) -> None:
    """The API server alone (REST).

    It reaches the engine at SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS, else at
    SERVER_GRPC_BROADCAST_ADDRESS.
    """
    _run(settings(config, _flags(None, port, None)), Roles(engine=False, api=True))
