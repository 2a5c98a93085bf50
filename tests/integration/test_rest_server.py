"""The listener: real sockets, a graceful stop, nobody's signal handlers."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from broadaxe.rest_api.server import RestServer
from broadaxe.testkit.virtual_time import VirtualClock


class Gate:
    """An application that holds its answer until told."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.set()
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_server_any_free_port_reported_and_served(gate: Gate) -> None:
    gate.open.set()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = RestServer(gate)
    await server.start()
    try:
        assert {number: signal.getsignal(number) for number in handlers} == handlers
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{server.port}/")
        assert answer.text == "ok"
        assert "server" not in answer.headers
        assert "date" in answer.headers
    finally:
        await server.stop()
        await server.stop()


async def test_date_header_is_that_of_the_answer(gate: Gate) -> None:
    gate.open.set()
    clock = VirtualClock(datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC))
    server = RestServer(gate, clock=clock)
    await server.start()
    try:
        async with httpx.AsyncClient() as http:
            dates = []
            for _ in range(2):
                dates.append((await http.get(f"http://127.0.0.1:{server.port}/")).headers.get_list("date"))
                clock.advance(1.0)
            # The listener itself answers what is no HTTP.
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"nonsense\r\n\r\n")
            refusal = await reader.readuntil(b"\r\n\r\n")
            writer.close()
        assert dates == [["Sat, 28 Feb 2026 23:59:59 GMT"], ["Sun, 01 Mar 2026 00:00:00 GMT"]]
        assert b"date: Sun, 01 Mar 2026 00:00:01 GMT" in refusal
    finally:
        await server.stop()


async def test_stop_lets_an_open_request_end(gate: Gate) -> None:
    server = RestServer(gate)
    await server.start()
    async with httpx.AsyncClient() as http:
        asked = asyncio.create_task(http.get(f"http://127.0.0.1:{server.port}/"))
        await gate.entered.wait()
        stopping = asyncio.create_task(server.stop())
        gate.open.set()
        assert (await asked).text == "ok"
        await stopping
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://127.0.0.1:{server.port}/")


async def test_stop_ends_what_outlasts_the_grace(gate: Gate) -> None:
    server = RestServer(gate, grace=1.0)
    await server.start()
    async with httpx.AsyncClient() as http:
        asked = asyncio.create_task(http.get(f"http://127.0.0.1:{server.port}/", timeout=30))
        await gate.entered.wait()
        async with asyncio.timeout(30):
            await server.stop()
        with pytest.raises(httpx.HTTPError):
            (await asked).raise_for_status()


async def test_start_taken_port_is_an_os_error(gate: Gate) -> None:
    first = RestServer(gate)
    await first.start()
    try:
        with pytest.raises(OSError):
            await RestServer(gate, port=first.port).start()
    finally:
        await first.stop()


async def test_start_on_ipv6_loopback(gate: Gate) -> None:
    gate.open.set()
    server = RestServer(gate, "::1")
    try:
        await server.start()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    try:
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://[::1]:{server.port}/")).text == "ok"
    finally:
        await server.stop()
