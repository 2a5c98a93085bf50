"""`broadaxe dev`, `server`, `engine`, `api`: the commands that stay.

What only a running server needs is imported by the command that starts it: the rest stays quick.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from broadaxe.cli.options import ConfigDir, settings

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


def _run(process: Coroutine[None, None, int]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(process)
    raise typer.Exit(code)


def _serve(
    config: Path | None, flags: dict[str, tuple[str, object]], *, engine: bool = False, api: bool = False
) -> None:
    loaded = settings(config, flags)
    from broadaxe.app.process import Roles, serve

    _run(serve(loaded, Roles(engine=engine, api=api)))


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
    from broadaxe.app import dev as dev_app

    _run(dev_app.run(data_dir.resolve(), config, _flags(grpc_port, port, health_port)))


def server(
    config: ConfigDir = None,
    grpc_port: GrpcPort = None,
    port: Port = None,
    health_port: HealthPort = None,
) -> None:
    """Engine and API server in one process, on your own PostgreSQL."""
    _serve(config, _flags(grpc_port, port, health_port), engine=True, api=True)


def engine(config: ConfigDir = None, grpc_port: GrpcPort = None, health_port: HealthPort = None) -> None:
    """The engine alone (gRPC)."""
    _serve(config, _flags(grpc_port, None, health_port), engine=True)


def api(config: ConfigDir = None, port: Port = None) -> None:
    """The API server alone (REST).

    It reaches the engine at SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS, else at
    SERVER_GRPC_BROADCAST_ADDRESS.
    """
    _serve(config, _flags(None, port, None), api=True)
