"""The command line loads quickly: what only servers need stays unloaded until a command needs it."""

import subprocess
import sys

LATE = {
    "asyncpg",
    "broadaxe.app",
    "broadaxe.config.settings",
    "grpc",
    "opentelemetry",
    "uvicorn",
    "uvloop",
    "yaml",
}


def loaded_by(module: str) -> set[str]:
    """Every module that is there after an import."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_cli_loaded_leaves_server_libraries_unloaded() -> None:
    assert LATE & loaded_by("broadaxe.cli.main") == set()


def test_server_loaded_leaves_grpcio_unloaded() -> None:
    """It takes 20 MB, which exports to a collector and the transport on grpcio need, and few processes."""
    assert "grpc" not in loaded_by("broadaxe.app.dev")
