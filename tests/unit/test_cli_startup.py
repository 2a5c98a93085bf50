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


def test_cli_loaded_leaves_server_libraries_unloaded() -> None:
    code = "import sys, broadaxe.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert LATE & set(done.stdout.split()) == set()
