"""TLS and mutual TLS of a server process: SERVER_TLS_* on our side, the SDK's own variables on the other."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from hatchet_sdk import ClientConfig, EmptyModel, Hatchet
from hatchet_sdk.config import ClientTLSConfig

from broadaxe.grpc_api.wire import dispatcher_pb2
from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.process import ChildProcess

WORKER = Path(__file__).resolve().parent / "tls_task.py"


def written(authority: Authority, folder: Path) -> dict[str, str]:
    """The paths of an authority's files by name."""
    folder.mkdir()
    return {name: str(path) for name, path in authority.write(folder).items()}


@asynccontextmanager
async def serving(folder: Path, database: str, **tls: str) -> AsyncIterator[dict[str, str]]:
    """A server process with these settings; its `client.env`."""
    arguments = ("dev", "--data-dir", folder, "--grpc-port", "0", "--port", "0", "--health-port", "0")
    env = {"DATABASE_URL": database, "SERVER_GRPC_INSECURE": "false", **tls}
    async with await ChildProcess.broadaxe(*arguments, env=env) as process:
        await process.wait_line(r"^ready ", 40)
        lines = (folder / "client.env").read_text().splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        yield dict(pairs)
        assert await process.stop() == 0
        assert "Traceback" not in process.output()


async def answer(env: dict[str, str], credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """What a client with these credentials is told by the server."""
    address = env["HATCHET_CLIENT_HOST_PORT"].replace("127.0.0.1", "localhost")
    channel = (
        grpc.aio.insecure_channel(address)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials)
    )
    async with channel:
        method = channel.unary_unary("/Dispatcher/GetVersion")
        metadata = (("authorization", f"Bearer {env['HATCHET_CLIENT_TOKEN']}"),)
        request = dispatcher_pb2.GetVersionRequest().SerializeToString()
        try:
            await method(request, metadata=metadata, timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


async def task_runs(env: dict[str, str]) -> None:
    """One task, by an SDK worker and an SDK client with the same settings."""
    async with await ChildProcess.start(sys.executable, WORKER, env=env, name="tls-worker"):
        tls = {
            name.removeprefix("HATCHET_CLIENT_TLS_").lower(): value
            for name, value in env.items()
            if name.startswith("HATCHET_CLIENT_TLS_")
        }
        config = ClientConfig(
            token=env["HATCHET_CLIENT_TOKEN"],
            host_port=env["HATCHET_CLIENT_HOST_PORT"],
            server_url=env["HATCHET_CLIENT_SERVER_URL"],
            tls_config=ClientTLSConfig(**tls),
        )
        hatchet = Hatchet(config=config)

        async def listed() -> bool:
            rows = (await hatchet.workers.aio_list()).rows or []
            return any(row.name == "tls-worker" and row.status == "ACTIVE" for row in rows)

        await until(listed, "the worker is active", 30, period=0.1)

        @hatchet.task(name="secret-greeting")
        async def greeting(input: EmptyModel, ctx: object) -> dict[str, str]:
            raise AssertionError("only the worker runs it")

        assert await greeting.aio_run(EmptyModel()) == {"greeting": "over TLS"}


@pytest.mark.parametrize(("strategy", "transport"), [("tls", "lean"), ("mtls", "lean"), ("mtls", "grpcio")])
async def test_sdk_runs_a_task_and_others_are_refused(
    databases: Databases, tmp_path: Path, strategy: str, transport: str
) -> None:
    ours, foreign = Authority.make(), Authority.make()
    files = written(ours, tmp_path / "certificates")
    dsn = await databases.empty()
    settings = {
        "SERVER_GRPC_TRANSPORT": transport,
        "SERVER_TLS_STRATEGY": strategy,
        "SERVER_TLS_CERT_FILE": files["server.crt"],
        "SERVER_TLS_KEY_FILE": files["server.key"],
        "SERVER_TLS_ROOT_CA_FILE": files["ca.crt"],
    }
    async with serving(tmp_path / "dev", dsn, **settings) as env:
        assert env["HATCHET_CLIENT_TLS_STRATEGY"] == strategy
        env |= {
            "HATCHET_CLIENT_TLS_ROOT_CA_FILE": files["ca.crt"],
            "HATCHET_CLIENT_TLS_SERVER_NAME": "localhost",
        }
        if strategy == "mtls":
            env |= {
                "HATCHET_CLIENT_TLS_CERT_FILE": files["client.crt"],
                "HATCHET_CLIENT_TLS_KEY_FILE": files["client.key"],
            }
        await task_runs(env)

        known: Callable[..., grpc.ChannelCredentials] = grpc.ssl_channel_credentials
        good = known(ours.certificate, ours.client_key, ours.client)
        assert await answer(env, good) is grpc.StatusCode.OK
        assert await answer(env, None) is grpc.StatusCode.UNAVAILABLE
        assert await answer(env, known(foreign.certificate)) is grpc.StatusCode.UNAVAILABLE
        without = await answer(env, known(ours.certificate))
        stranger = await answer(env, known(ours.certificate, foreign.client_key, foreign.client))
        if strategy == "mtls":
            assert (without, stranger) == (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE)
        else:
            assert without is grpc.StatusCode.OK
    await databases.drop(dsn)
