"""The test span and the test metric of `broadaxe doctor`: what is said about good and broken collectors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import grpc.aio
import pytest

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry import names as T
from broadaxe.telemetry.conformance import span_violations
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.reach import Outcome
from broadaxe.telemetry.self_test import SelfTest, send_test
from broadaxe.telemetry.tuning import Tuning
from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.collector import Collector, Mood
from broadaxe.testkit.ports import closed_port

BRIEF = 20.0
"""Seconds for an answer that comes."""
HANGS = 2.0
"""Seconds for one that never does, and for the others beside it, which come."""


async def tried(target: str, within: float = BRIEF, **given) -> SelfTest:
    """The test against an address, in plaintext unless told otherwise."""
    settings = {"insecure": True, "service_name": "jobs-engine", "role": "doctor", **given}
    options = TelemetryOptions(collector_url=target, **settings)
    return await send_test(options, SystemClock(), SystemIds(), within)


async def test_span_and_metric_arrive_and_are_declared() -> None:
    async with Collector() as collector:
        test = await tried(collector.target, auth="Bearer s3cret", ratio=0.0)
        assert (test.span.outcome, test.metric.outcome) == (Outcome.TAKEN, Outcome.TAKEN)
        (span,) = collector.spans
        assert (span.name, span.trace_id, span.service) == (
            T.SPAN_DOCTOR.name,
            test.trace_id,
            "jobs-engine",
        )
        assert span.parent_id == ""
        assert span_violations([span]) == []
        assert {headers.get("authorization") for headers in collector.headers} == {"Bearer s3cret"}
        (request,) = collector.receiver.metrics
        names = [
            metric.name
            for group in request.resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        ]
        assert names == [T.METRIC_DOCTOR.name]


@dataclass(frozen=True)
class Broken:
    """A collector that is not well, and what must be said about it."""

    outcome: Outcome
    says: str


REFUSALS = {
    grpc.StatusCode.UNAUTHENTICATED: Broken(Outcome.AUTH_REFUSED, "set SERVER_OTEL_COLLECTOR_AUTH"),
    grpc.StatusCode.PERMISSION_DENIED: Broken(Outcome.AUTH_REFUSED, "set SERVER_OTEL_COLLECTOR_AUTH"),
    grpc.StatusCode.UNAVAILABLE: Broken(Outcome.REFUSED, "refused by the test"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: Broken(Outcome.REFUSED, "RESOURCE_EXHAUSTED"),
    grpc.StatusCode.UNIMPLEMENTED: Broken(Outcome.NOT_OTLP, "takes no spans"),
}


@pytest.mark.parametrize("status", REFUSALS, ids=lambda status: status.name)
async def test_refusal_is_told_with_its_status(status: grpc.StatusCode) -> None:
    expected = REFUSALS[status]
    async with Collector(Mood.REFUSING, refusal=status) as collector:
        test = await tried(collector.target)
        assert collector.requests == 1, "a self test never retries"
    assert test.span.outcome is expected.outcome
    assert expected.says in test.span.text
    assert test.metric.outcome is Outcome.TAKEN


async def test_refused_header_is_said_to_be_wrong_and_not_shown() -> None:
    async with Collector(Mood.REFUSING, refusal=grpc.StatusCode.UNAUTHENTICATED) as collector:
        test = await tried(collector.target, auth="Bearer s3cret")
    assert "check its value" in test.span.text
    assert "s3cret" not in test.span.text


async def test_rejected_span_is_told_with_the_reason() -> None:
    async with Collector(Mood.PARTIAL) as collector:
        test = await tried(collector.target)
    assert test.span.outcome is Outcome.REJECTED
    assert "rejected by the test" in test.span.text


async def test_collector_that_never_answers_is_slow() -> None:
    async with Collector(Mood.HANGING) as collector:
        test = await tried(collector.target, within=HANGS)
    assert test.span.outcome is Outcome.SLOW
    assert test.metric.outcome is Outcome.TAKEN


async def test_nobody_listens() -> None:
    test = await tried(f"127.0.0.1:{closed_port()}")
    assert (test.span.outcome, test.metric.outcome) == (Outcome.DOWN, Outcome.DOWN)
    assert "is the collector running?" in test.span.text


async def test_name_that_does_not_exist() -> None:
    test = await tried("collector.invalid:4317")
    assert test.span.outcome is Outcome.UNRESOLVABLE


@asynccontextmanager
async def speaking(answer: bytes) -> AsyncIterator[str]:
    """Something that listens and is no collector; an empty answer keeps silent."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read(1)
        if answer:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in held:
            writer.close()
        server.close()


async def test_port_of_otlp_over_http_is_recognised() -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as target:
        test = await tried(target)
    assert test.span.outcome is Outcome.NOT_OTLP
    assert "4317" in test.span.text


@pytest.mark.parametrize("within", [0.3, HANGS])
async def test_port_that_keeps_silent_is_slow(within: float) -> None:
    """Also when gRPC gives the connection up before the time is over."""
    async with speaking(b"") as target:
        test = await tried(target, within=within)
    assert test.span.outcome is Outcome.SLOW, test.span.text


async def test_grpc_server_of_another_kind_takes_nothing() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        test = await tried(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
    assert (test.span.outcome, test.metric.outcome) == (Outcome.NOT_OTLP, Outcome.NOT_OTLP)
    assert "takes no metrics" in test.metric.text


# -- TLS ----------------------------------------------------------------------------------------------------

TLS: dict[str, tuple[Callable[[], Authority], bool, Outcome, str]] = {
    "good": (Authority.make, True, Outcome.TAKEN, "took"),
    "unknown authority": (Authority.make, False, Outcome.UNTRUSTED, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    "expired": (
        lambda: Authority.make(valid_for=-timedelta(days=1)),
        True,
        Outcome.EXPIRED,
        "renew it",
    ),
    "another name": (
        lambda: Authority.make(host="other.example.com", address="192.0.2.1"),
        True,
        Outcome.WRONG_NAME,
        "for another",
    ),
}


@pytest.mark.parametrize("case", TLS)
async def test_certificate_of_the_collector(case: str) -> None:
    make, trusted, outcome, says = TLS[case]
    authority = make()
    tuning = Tuning(certificate=authority.certificate if trusted else Authority.make().certificate)
    async with Collector(authority=authority) as collector:
        test = await tried(collector.target, insecure=False, tuning=tuning)
    assert test.span.outcome is outcome, test.span.text
    assert says in test.span.text


async def test_plaintext_to_a_collector_that_speaks_tls() -> None:
    async with Collector(authority=Authority.make()) as collector:
        test = await tried(collector.target)
    assert test.span.outcome is Outcome.SPEAKS_TLS, test.span.text


async def test_tls_to_a_collector_that_speaks_plaintext() -> None:
    async with Collector() as collector:
        test = await tried(collector.target, insecure=False)
    assert test.span.outcome is Outcome.SPEAKS_PLAINTEXT, test.span.text
    assert "SERVER_OTEL_INSECURE=true" in test.span.text


@pytest.mark.parametrize("shown", [True, False])
async def test_collector_that_wants_a_client_certificate(shown: bool) -> None:
    authority = Authority.make()
    own = {"client_certificate": authority.client, "client_key": authority.client_key} if shown else {}
    async with Collector(authority=authority, client_required=True) as collector:
        tuning = Tuning(certificate=authority.certificate, **own)
        test = await tried(collector.target, insecure=False, tuning=tuning)
    expected = Outcome.TAKEN if shown else Outcome.WANTS_CLIENT_CERTIFICATE
    assert test.span.outcome is expected, test.span.text
