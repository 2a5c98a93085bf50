"""The command line as processes: what people and scripts see, exit codes included."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from broadaxe.cli.client import Client
from broadaxe.grpc_api.wire import dispatcher_pb2
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.ports import closed_port
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import own_ports

READY = r"^ready "
NOWHERE = f"postgresql://u:p@127.0.0.1:{closed_port()}/none"
ANY_PORTS = ("--grpc-port", "0", "--health-port", "0")
PUT_WORKFLOW = "/v1.AdminService/PutWorkflow"
GET_VERSION = "/Dispatcher/GetVersion"
CANARY = "canary-5d21"
NOBODY = "11111111-1111-4111-8111-111111111111"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command that ended left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said on standard error."""
        return self.err.splitlines()


async def command(*arguments: str | Path, env: dict[str, str] | None = None) -> Ended:
    """Run a command to its end; no command ever shows a traceback."""
    async with await ChildProcess.broadaxe(*arguments, env=env) as process:
        code = await process.wait(90)
        assert "Traceback" not in process.output()
        return Ended(code, process.output("out"), process.output("err"))


async def good(*arguments: str | Path, env: dict[str, str]) -> str:
    """Run a command that must do well; what it printed."""
    ended = await command(*arguments, env=env)
    assert ended.code == 0, ended
    return ended.out


async def call(address: str, method: str, request: bytes, token: str) -> bytes:
    """One plain gRPC call."""
    async with grpc.aio.insecure_channel(address) as channel:
        metadata = (("authorization", f"Bearer {token}"),)
        return bytes(await channel.unary_unary(method)(request, metadata=metadata, timeout=10))


def address_in(ready: str, name: str) -> str:
    """An address of the ready line."""
    return dict(part.split("=", 1) for part in ready.split()[1:])[name]


@pytest.fixture(scope="module")
async def place(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, str]]:
    """Settings for a database that the commands themselves made ready."""
    folder = tmp_path_factory.mktemp("cli") / "keys"
    dsn = await databases.empty()
    env = {
        "DATABASE_URL": dsn,
        "SERVER_GRPC_INSECURE": "true",
        "SERVER_BIND_ADDRESS": "127.0.0.1",
        "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
        "CACHE_DURATION": "1s",
    }
    printed = await good("keys", "create", "--dir", folder, env={})
    env |= dict(line.split("=", 1) for line in printed.splitlines())
    assert "applied" in await good("migrate", env=env)
    assert await good("migrate", env=env) == "the database is up to date"
    seeded = await good("seed", env=env)
    assert await good("seed", env=env) == seeded
    yield env
    await databases.drop(dsn)


@dataclass(frozen=True, slots=True)
class Pair:
    """An engine and an API server as two processes."""

    engine: ChildProcess
    api: ChildProcess
    grpc: str
    rest: str


@pytest.fixture(scope="module")
async def pair(place: dict[str, str]) -> AsyncIterator[Pair]:
    """Both processes on one database; each ends with 0 after its own signal."""
    async with await ChildProcess.broadaxe("engine", *ANY_PORTS, env=place) as engine:
        address = address_in(await engine.wait_line(READY, 60), "grpc")
        env = {**place, "SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS": address}
        async with await ChildProcess.broadaxe("api", "--port", "0", env=env) as api:
            rest = address_in(await api.wait_line(READY, 60), "rest")
            yield Pair(engine, api, address, rest)
            api.signal(signal.SIGINT)
            assert await api.wait(60) == 0
        engine.signal(signal.SIGTERM)
        assert await engine.wait(60) == 0
        assert "Traceback" not in engine.output() + api.output()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


async def test_engine_and_api_apart_run_commands_work_through_both(place: dict[str, str], pair: Pair) -> None:
    made = json.loads(await good("token", "create", "--name", "runs", "--json", env=place))
    task = v1.CreateTaskOpts(readable_id="work", action="cli:work", timeout="60s")
    request = v1.CreateWorkflowVersionRequest(name="cli-flow", tasks=[task])
    await call(pair.grpc, PUT_WORKFLOW, request.SerializeToString(), made["token"])
    env = {"HATCHET_CLIENT_TOKEN": made["token"], "HATCHET_CLIENT_SERVER_URL": pair.rest}

    run = json.loads(await good("run", "trigger", "cli-flow", "--input", '{"a": 1}', "--json", env=env))["id"]
    other = await good("run", "trigger", "cli-flow", "--priority", "3", env=env)
    assert {row["metadata"]["id"] for row in json.loads(await good("run", "list", "--json", env=env))} == {
        run,
        other,
    }
    assert run in await good("run", "list", env=env)
    found = json.loads(await good("run", "get", run, "--json", env=env))["run"]
    assert (found["input"], found["status"]) == ({"input": {"a": 1}}, "QUEUED")
    assert "QUEUED" in await good("run", "get", run, env=env)
    assert json.loads(await good("run", "cancel", run, "--json", env=env)) == {
        "ids": [run],
        "unknown": [],
        "unchanged": [],
    }

    client = Client(pair.rest, made["token"], "")

    async def has(status: str) -> None:
        async def told() -> bool:
            run_now = await asyncio.to_thread(client.call, "GET", f"/api/v1/stable/workflow-runs/{run}")
            return bool(run_now["run"]["status"] == status)

        await until(told, f"the run is {status}")

    await has("CANCELLED")
    assert json.loads(await good("run", "replay", run, "--json", env=env))["ids"] == [run]
    await has("QUEUED")

    unknown = await command("run", "trigger", "no-such-flow", env=env)
    assert (unknown.code, len(unknown.lines)) == (1, 1)
    assert "no-such-flow" in unknown.err
    wrong = await command("run", "trigger", "cli-flow", "--input", "{", env=env)
    assert (wrong.code, len(wrong.lines)) == (2, 1)


async def test_run_commands_name_what_is_not_there_and_exit_1(place: dict[str, str], pair: Pair) -> None:
    made = json.loads(await good("token", "create", "--name", "unknown", "--json", env=place))
    task = v1.CreateTaskOpts(readable_id="work", action="cli:none", timeout="60s")
    request = v1.CreateWorkflowVersionRequest(name="cli-none", tasks=[task])
    await call(pair.grpc, PUT_WORKFLOW, request.SerializeToString(), made["token"])
    env = {"HATCHET_CLIENT_TOKEN": made["token"], "HATCHET_CLIENT_SERVER_URL": pair.rest}
    first, second = [await good("run", "trigger", "cli-none", env=env) for _ in range(2)]

    for verb in ("cancel", "replay", "get"):
        ended = await command("run", verb, NOBODY, env=env)
        assert (ended.code, ended.lines) == (1, [f"broadaxe: no run {NOBODY}"]), verb
    mixed = await command("run", "cancel", first, NOBODY, second, env=env)
    assert (mixed.code, mixed.out, mixed.lines) == (1, "2 of 3 affected", [f"broadaxe: no run {NOBODY}"])
    # What is over already cannot be cancelled, and nothing is wrong with that.
    again = await command("run", "cancel", first, "--json", env=env)
    assert (again.code, again.lines) == (0, [f"broadaxe: not cancelled: {first} is CANCELLED"])
    assert json.loads(again.out) == {
        "ids": [],
        "unknown": [],
        "unchanged": [{"id": first, "status": "CANCELLED"}],
    }
    waiting = await good("run", "trigger", "cli-none", env=env)
    replayed = await command("run", "replay", waiting, second, env=env)
    assert (replayed.code, replayed.out) == (1, "1 of 2 affected")
    assert replayed.lines == [f"broadaxe: not run again: {waiting} is QUEUED"]
    listed = await command("run", "list", "--workflow", NOBODY, env=env)
    assert (listed.code, listed.lines) == (1, [f"broadaxe: no workflow {NOBODY}"])
    for arguments in (("get", "x"), ("cancel", waiting, "x"), ("list", "--workflow", "x")):
        wrong = await command("run", *arguments, env=env)
        assert (wrong.code, len(wrong.lines)) == (2, 1)
        assert "valid UUID" in wrong.err


async def test_token_commands_of_an_unknown_tenant_exit_1(place: dict[str, str]) -> None:
    for arguments in (("create",), ("list",), ("revoke", NOBODY)):
        ended = await command("token", *arguments, "--tenant-id", NOBODY, env=place)
        assert (ended.code, len(ended.lines)) == (1, 1), arguments
        assert f"no tenant {NOBODY}" in ended.err


async def test_token_revoked_is_refused_within_the_cache_time(place: dict[str, str], pair: Pair) -> None:
    made = json.loads(await good("token", "create", "--name", "short", "--json", env=place))
    request = dispatcher_pb2.GetVersionRequest().SerializeToString()
    await call(pair.grpc, GET_VERSION, request, made["token"])
    assert made["id"] in await good("token", "list", env=place)
    assert "revoked" in await good("token", "revoke", made["id"], env=place)

    async def answer() -> grpc.StatusCode:
        try:
            await call(pair.grpc, GET_VERSION, request, made["token"])
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def refused() -> bool:
        return await answer() is not grpc.StatusCode.OK

    await until(refused, "the token is refused")
    assert await answer() is grpc.StatusCode.UNAUTHENTICATED
    listed = {row["id"]: row for row in json.loads(await good("token", "list", "--json", env=place))}
    assert listed[made["id"]]["revoked"]
    assert made["token"] not in json.dumps(listed)
    env = {"HATCHET_CLIENT_TOKEN": made["token"], "HATCHET_CLIENT_SERVER_URL": pair.rest}

    listing = await command("run", "list", env=env)  # starting it took longer than the cache time
    assert (listing.code, len(listing.lines)) == (1, 1)
    again = await command("token", "revoke", made["id"], env=place)
    assert (again.code, len(again.lines)) == (1, 1)


@pytest.mark.parametrize("option", ["--grpc-port", "--port", "--health-port"])
async def test_server_port_in_use_is_one_line_and_exit_1(
    databases: Databases, place: dict[str, str], taken: int, option: str
) -> None:
    # A database of its own: the engine of the other tests holds the lease of theirs.
    dsn = await databases.migrated()
    ports = {"--grpc-port": "0", "--port": "0", "--health-port": "0", option: str(taken)}
    arguments = [text for pair in ports.items() for text in pair]
    ended = await command("server", *arguments, env={**place, "DATABASE_URL": dsn})
    assert (ended.code, len(ended.lines)) == (1, 1), ended
    assert str(taken) in ended.err
    await databases.drop(dsn)


async def test_commands_without_a_database_are_one_line_and_exit_1(place: dict[str, str]) -> None:
    env = {**place, "DATABASE_URL": NOWHERE, "DATABASE_COMMAND_WAIT": "1s"}
    for ended in await asyncio.gather(command("migrate", env=env), command("token", "list", env=env)):
        assert (ended.code, ended.out, len(ended.lines)) == (1, "", 1), ended
        assert "cannot be reached" in ended.err


@pytest.mark.parametrize("role", ["server", "engine", "api"])
async def test_server_unmigrated_database_is_one_line_and_exit_1(
    empty_database: str, place: dict[str, str], role: str
) -> None:
    ports = [] if role == "api" else ANY_PORTS
    rest = [] if role == "engine" else ["--port", "0"]
    ended = await command(role, *ports, *rest, env={**place, "DATABASE_URL": empty_database})
    assert ended.code == 1, ended
    assert "run `broadaxe migrate`" in ended.err.strip().splitlines()[-1]


async def test_server_without_a_database_stays_alive_and_stops_cleanly(place: dict[str, str]) -> None:
    env = {**place, "DATABASE_URL": NOWHERE, "SERVER_LOGGER_FORMAT": "json"}
    async with await ChildProcess.broadaxe("server", *ANY_PORTS, "--port", "0", env=env) as server:
        await server.wait_json(lambda line: "database is away" in line["message"])
        assert server.running
        server.signal(signal.SIGINT)
        assert await server.wait(60) == 0
        assert "Traceback" not in server.output()


async def test_bad_settings_are_one_line_and_exit_2(place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text("runtime:\n  port: abc\n")
    cases: dict[str, tuple[tuple[str | Path, ...], dict[str, str]]] = {
        "--grpc-port": (("server", "--grpc-port", "99999"), {}),
        "SERVER_PORT": (("server",), {"SERVER_PORT": "abc"}),
        "runtime.port": (("server", "--config", tmp_path), {}),
        "SERVER_OTEL_COLLECTOR_URL": (("engine",), {"SERVER_OTEL_COLLECTOR_URL": "http://a:1"}),
        "OTEL_EXPORTER_OTLP_CERTIFICATE": (("engine",), {"OTEL_EXPORTER_OTLP_CERTIFICATE": __file__}),
        "HATCHET_CLIENT_TOKEN": (("run", "list"), {"HATCHET_CLIENT_TOKEN": "no"}),
    }
    answers = await asyncio.gather(*(command(*words, env={**place, **env}) for words, env in cases.values()))
    for name, ended in zip(cases, answers, strict=True):
        assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1), ended
        assert name in ended.err


async def test_config_check_and_show_tell_all_but_secrets(place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(f"auth:\n  google:\n    clientSecret: {CANARY}-yaml\n")
    env = {
        **place,
        "DATABASE_URL": f"postgresql://user:{CANARY}-url@127.0.0.1:1/x",
        "SERVER_OTEL_COLLECTOR_AUTH": f"Bearer {CANARY}-auth",
        "ADMIN_PASSWORD": f"{CANARY}-password",
        "SERVER_AUTH_COOKIE_SECRETS": f"{CANARY}-one {CANARY}-two",
        "SERVER_NO_SUCH_SETTING": f"{CANARY}-unknown",
    }
    checked = await command("config", "check", "--config", tmp_path, env=env)
    assert checked.code == 0, checked
    assert "SERVER_NO_SUCH_SETTING" in checked.err
    shown = await command("config", "show", "--config", tmp_path, env=env)
    every = await command("config", "show", "--all", "--json", "--config", tmp_path, env=env)
    rows = {row["name"]: row for row in json.loads(every.out)}
    assert rows["SERVER_OTEL_COLLECTOR_AUTH"] == {
        "name": "SERVER_OTEL_COLLECTOR_AUTH",
        "value": "***",
        "origin": "environment SERVER_OTEL_COLLECTOR_AUTH",
    }
    assert rows["SERVER_AUTH_GOOGLE_CLIENT_SECRET"]["origin"].startswith("server.yaml:3")
    assert rows["SERVER_PORT"]["origin"] == "default"
    for ended in (checked, shown, every):
        assert CANARY not in ended.out + ended.err
    bad = await command("config", "check", env={**env, "SERVER_AUTH_COOKIE_INSECURE": CANARY[:6]})
    assert (bad.code, len(bad.lines)) == (2, 1)
    assert CANARY not in bad.err


async def test_dev_keeps_its_ports_and_token_and_its_directory_to_itself(
    databases: Databases, tmp_path: Path
) -> None:
    dsn = await databases.empty()
    env = {"DATABASE_URL": dsn}
    any_port = ("--port", "0", *ANY_PORTS)
    show = (
        "unset HATCHET_CLIENT_TOKEN; . ./client.env && echo $HATCHET_CLIENT_TOKEN $HATCHET_CLIENT_HOST_PORT"
    )

    async def sourced() -> list[str]:
        async with await ChildProcess.start("sh", "-c", show, cwd=tmp_path) as shell:
            assert await shell.wait() == 0
            return shell.output("out").split()

    async with await ChildProcess.broadaxe("dev", "--data-dir", tmp_path, *own_ports(), env=env) as first:
        line = await first.wait_line(READY, 60)
        token, address = await sourced()
        assert address == address_in(line, "grpc")
        await call(address, GET_VERSION, dispatcher_pb2.GetVersionRequest().SerializeToString(), token)
        second = await command("dev", "--data-dir", tmp_path, *any_port, env=env)
        assert (second.code, len(second.lines)) == (1, 1), second
        assert first.output("out").count("ready ") == 1
        first.signal(signal.SIGINT)
        assert await first.wait(60) == 0
        assert "Traceback" not in first.output()
    async with await ChildProcess.broadaxe("dev", "--data-dir", tmp_path, *any_port, env=env) as again:
        assert await again.wait_line(READY, 60) == line
        assert await sourced() == [token, address]
        again.signal(signal.SIGTERM)
        assert await again.wait(60) == 0
    await databases.drop(dsn)
