"""Packages of npm for the tests, installed once for all test runs into a cache of the user's."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broadaxe-tests"
TYPESCRIPT_SDK = "@hatchet-dev/typescript-sdk@1.33.2"
_TIMEOUT = 180.0


def node_modules(*packages: str) -> Path:
    """The `node_modules` with these packages (`name@version`); skips the test, with the reason, where they
    cannot be had."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("Node.js and npm are not here, which these packages need")
    home = CACHE / "+".join(package.rpartition("/")[2] for package in packages)
    if not home.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=CACHE))
        command = [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            # Unless told, npm waits for more than a minute before it says that there is no registry.
            "--fetch-retries=1",
            "--fetch-retry-mintimeout=1000",
            "--prefix",
            fresh,
            *packages,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
            if done.returncode == 0:
                # Another test run may have been faster.
                with contextlib.suppress(OSError):
                    fresh.rename(home)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        if done.returncode != 0:
            pytest.skip(f"{', '.join(packages)} could not be installed: {done.stderr[-300:]}")
    return home / "node_modules"
