"""gRPC's interop cases against the lean transport, by the clients of grpc-go, grpcio and grpc-js.

The compressed cases are judged by what went over the wire: a client does not show it, and a handler has no
say in it. (grpc-go's client has no such cases.)
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio
from interop_grpcio import CASES, LARGE_REQUEST
from interop_service import InteropServicer, description
from npm import node_modules
from relay import Relay
from toy_server import SETTINGS, Toy, serving

from tests.judges import NotHere, find

GRPC_JS = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")
CLIENT_JS = Path(__file__).parent / "interop" / "client.js"
COMPRESSED = tuple(name for name in CASES if name.startswith("compressed"))
PLAIN = tuple(name for name in CASES if name not in COMPRESSED)


@asynccontextmanager
async def _interop() -> AsyncIterator[Toy]:
    async with serving(SETTINGS["lean"](port=0), methods=InteropServicer().methods()) as toy:
        yield toy


async def _told(*command: str | Path, given: bytes = b"", env: dict[str, str] | None = None) -> str:
    """What a client says; it must end well."""
    client = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(env or {})},
    )
    async with asyncio.timeout(60):
        told, _ = await client.communicate(given)
    assert client.returncode == 0, told.decode()
    return told.decode()


@pytest.mark.parametrize("case", PLAIN)
async def test_interop_case_passes_with_the_client_of_grpc_go(case: str) -> None:
    try:
        client = find("grpc-interop-client", build=True)
    except NotHere as reason:
        pytest.skip(str(reason))
    async with _interop() as toy:
        port = toy.server.port
        await _told(client, "-server_host=127.0.0.1", f"-server_port={port}", f"-test_case={case}")


@pytest.mark.parametrize("case", PLAIN)
async def test_interop_case_passes_with_grpcio(case: str) -> None:
    async with (
        _interop() as toy,
        aio.insecure_channel(f"127.0.0.1:{toy.server.port}") as channel,
        asyncio.timeout(30),
    ):
        await CASES[case](channel)


@pytest.mark.parametrize("case", COMPRESSED)
async def test_interop_compressed_case_passes_with_grpcio(case: str) -> None:
    async with (
        _interop() as toy,
        Relay.before(toy.server.port) as relay,
        aio.insecure_channel(f"127.0.0.1:{relay.port}", compression=grpc.Compression.Gzip) as channel,
        asyncio.timeout(30),
    ):
        await CASES[case](channel)
    assert relay.to_server < LARGE_REQUEST / 20
    assert relay.to_client < 31_415 / 4


async def _by_grpc_js(port: int, which: str) -> dict[str, dict[str, str]]:
    modules = {"NODE_PATH": str(node_modules(*GRPC_JS))}
    told = await _told("node", CLIENT_JS, str(port), which, given=description(), env=modules)
    answers = [json.loads(line) for line in told.splitlines()]
    return {answer["case"]: answer for answer in answers}


@pytest.fixture(scope="module")
async def grpc_js() -> dict[str, dict[str, str]]:
    """What its client says of each case."""
    async with _interop() as toy:
        return await _by_grpc_js(toy.server.port, "PLAIN")


@pytest.mark.parametrize("case", PLAIN)
def test_interop_case_passes_with_grpc_js(case: str, grpc_js: dict[str, dict[str, str]]) -> None:
    assert grpc_js[case] == {"case": case}


async def test_interop_compressed_cases_pass_with_grpc_js() -> None:
    async with _interop() as toy, Relay.before(toy.server.port) as relay:
        answers = await _by_grpc_js(relay.port, "COMPRESSED")
    assert answers == {case: {"case": case} for case in COMPRESSED}
    assert relay.to_server < LARGE_REQUEST / 20
    assert relay.to_client < 31_415 / 4
