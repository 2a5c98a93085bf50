"""gRPC's interop cases, by grpc-go's own client, against the lean transport."""

import asyncio

import pytest
from interop_service import InteropServicer
from judges import go_program
from toy_server import SETTINGS, serving

CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
)


@pytest.mark.parametrize("case", CASES)
async def test_interop_case_passes_with_the_client_of_grpc_go(case: str) -> None:
    client = go_program("google.golang.org/grpc/interop/client", "v1.84.0")
    async with serving(SETTINGS["lean"](port=0), methods=InteropServicer().methods()) as toy:
        judge = await asyncio.create_subprocess_exec(
            client,
            *("-server_host=127.0.0.1", f"-server_port={toy.server.port}", f"-test_case={case}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            told, _ = await judge.communicate()
    assert judge.returncode == 0, told.decode()
