"""The wheel alone: what is in it, and that it runs in an empty environment without settings or PostgreSQL."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from broadaxe.testkit.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
NO_INDEX = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Name or service not known|Temporary failure in name"
    r"|Network is unreachable|Connection refused|ProxyError|No matching distribution found|SSLError"
)
BUILD_TIME, INSTALL_TIME = 60.0, 120.0
"""Seconds; both wait for a package index."""


def pip(python: str | Path, *arguments: str | Path, timeout: float) -> None:
    """Run pip; the test is skipped when the index cannot be reached, and fails for everything else."""
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd="/")
    except subprocess.TimeoutExpired:
        pytest.skip(f"the package index did not serve `pip {arguments[0]}` within {timeout:g} s")
    if done.returncode != 0 and NO_INDEX.search(done.stdout + done.stderr):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what is needed, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, source, timeout=BUILD_TIME)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment that holds the wheel, its dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    constraints = ("--constraint", ROOT / "constraints.txt")
    pip(
        sys.executable,
        "--python",
        python,
        "install",
        "--quiet",
        "--no-compile",
        *constraints,
        wheel,
        timeout=INSTALL_TIME,
    )
    return folder / "bin"


@pytest.fixture
def bare(installed: Path, tmp_path: Path) -> Mapping[str, str]:
    """An environment as bare as can be: an empty home, no PostgreSQL on PATH, no setting."""
    (tmp_path / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith("LC_")}
    return {**kept, "HOME": str(tmp_path / "home"), "PATH": str(installed)}


def test_wheel_built_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    product = {name for name in names if ".dist-info/" not in name}
    data = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "broadaxe").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }

    assert product == data
    assert {Path(name).suffix for name in data} >= {".sql", ".yaml", ".pyi", ".typed"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_installed_prints_its_version(bare: Mapping[str, str], installed: Path) -> None:
    done = subprocess.run(
        [installed / "broadaxe", "--version"], env=bare, cwd="/", capture_output=True, text=True, timeout=30
    )

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout.strip()) == (0, version), done.stderr


@pytest.mark.slow
async def test_wheel_installed_runs_dev_without_settings_or_postgresql(
    bare: Mapping[str, str], installed: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    # `env -i`: the child must not inherit what this test run was given.
    pairs = [f"{name}={value}" for name, value in bare.items()]
    command = ["/usr/bin/env", "-i", *pairs, installed / "broadaxe", "dev", "--data-dir", data]
    async with await ChildProcess.start(*command, cwd=tmp_path, name="broadaxe dev") as server:
        line = await server.wait_line("^ready ", timeout=60)
        code = await server.stop(30)

    assert re.fullmatch(
        r"ready grpc=127\.0\.0\.1:\d+ rest=http://127\.0\.0\.1:\d+ health=127\.0\.0\.1:\d+", line
    )
    assert code == 0, server.output()
    assert "HATCHET_CLIENT_TOKEN=" in (data / "client.env").read_text()
    assert list((tmp_path / "home").iterdir()) == []
