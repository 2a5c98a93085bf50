"""Programs that judge a server from outside, built from Go's module proxy into a cache of the user's."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_BUILD_TIMEOUT = 600.0


def cache() -> Path:
    """Where built judges are kept from run to run."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "broadaxe-judges"


def go_program(module: str, version: str) -> Path:
    """A Go program by its module; skips the test, with the reason, where it cannot be had."""
    name = module.rpartition("/")[2]
    binary = cache() / f"{name}-{version}" / name
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"the Go toolchain is not here, which {name} is built with")
    try:
        built = subprocess.run(
            [go, "install", "-p", "1", f"{module}@{version}"],
            env={**os.environ, "GOBIN": str(binary.parent)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} could not be built within {_BUILD_TIMEOUT:.0f} s")
    if built.returncode != 0:
        pytest.skip(f"{name} could not be built: {built.stderr[-300:]}")
    return binary
