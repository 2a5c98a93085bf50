"""The listener for probes and scrapes."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.health import Health, HttpListener, Reply
from tests.telemetry.conftest import make_telemetry, running


class Probe:
    def __init__(self) -> None:
        self.health = Health("1.2.3")
        self.ready = True
        self.health.add_ready("database", lambda: self.ready)

        def broken() -> Reply:
            raise RuntimeError("broken")

        self.listener = HttpListener("127.0.0.1", 0, {**self.health.routes(), "/broken": broken})

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body

    async def get(self, path: str) -> tuple[int, bytes]:
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    one = Probe()
    await one.listener.start()
    yield one
    await one.listener.stop()


async def test_live_and_ready_answer_200(probe: Probe) -> None:
    assert await probe.get("/live") == (200, b"ok\n")
    assert await probe.get("/ready?verbose=1") == (200, b"ok\n")


async def test_ready_failing_check_is_500_and_named_while_live_holds(probe: Probe) -> None:
    probe.ready = False
    status, body = await probe.get("/ready")
    assert status == 500
    assert b"database" in body
    assert (await probe.get("/live"))[0] == 200
    assert not probe.health.ready


async def test_version_is_json(probe: Probe) -> None:
    status, body = await probe.get("/version")
    assert (status, json.loads(body)) == (200, {"version": "1.2.3"})


async def test_head_has_no_body(probe: Probe) -> None:
    assert await probe.ask(b"HEAD /live HTTP/1.1\r\n\r\n") == (200, b"")


async def test_route_that_raises_is_500(probe: Probe) -> None:
    assert (await probe.get("/broken"))[0] == 500


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /live HTTP/1.1\r\n\r\n", 405),
        (b"GET /live\r\n\r\n", 400),
        (b"GET live HTTP/1.1\r\n\r\n", 400),
        (b"GET /live HTTP/2.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
    ],
)
async def test_odd_requests_get_their_status(probe: Probe, request_bytes: bytes, status: int) -> None:
    assert (await probe.ask(request_bytes))[0] == status


async def test_caller_that_leaves_early_harms_nobody(probe: Probe) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", probe.listener.port)
    writer.write(b"GET /li")
    writer.close()
    await writer.wait_closed()
    assert (await probe.get("/live"))[0] == 200


async def test_prometheus_page_is_served_under_its_path() -> None:
    telemetry = make_telemetry(
        "", prometheus_enabled=True, prometheus_address="127.0.0.1:0", prometheus_path="/m"
    )
    async with running(telemetry):
        telemetry.metrics.add(T.METRIC_TASKS_CREATED, 4)
        port = telemetry.prometheus_port
        assert port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /m HTTP/1.1\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
    assert "text/plain; version=0.0.4" in text
    assert "hatchet_created_tasks_total 4" in text
