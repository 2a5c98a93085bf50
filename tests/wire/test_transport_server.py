"""Every transport: listening, TLS, pings, health, reflection and the stop."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import raw_http2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from toy_server import BEARER, Chosen, Client, Toy, client, listen, listening, make_server, register, serving

from broadaxe.config.tls import ServerTls
from broadaxe.grpc_api.call import Code
from broadaxe.grpc_api.transport import BindFailed
from broadaxe.grpc_api.transport_grpcio import GrpcioServer
from broadaxe.grpc_api.wire import events_pb2
from broadaxe.testkit.certificates import Authority

pytestmark = pytest.mark.usefixtures("transport")


async def _push(calls: Any) -> Any:
    return await calls.push(events_pb2.PushEventRequest(payload="{}"), metadata=BEARER, timeout=10)


async def test_bind_port_zero_reports_the_port_taken() -> None:
    async with serving() as one, serving() as other, client(f"127.0.0.1:{one.server.port}") as calls:
        assert 0 < one.server.port != other.server.port > 0
        assert (await _push(calls)).payload == "{}"


async def test_bind_ipv6_address_is_listened_on() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback here: {error}")
    settings = listening(bind_address="::1", port=0)
    async with serving(settings) as toy, client(f"[::1]:{toy.server.port}") as calls:
        assert (await _push(calls)).payload == "{}"


async def test_bind_loopback_does_not_listen_elsewhere() -> None:
    async with serving() as toy:
        with socket.socket() as other, pytest.raises(OSError):
            other.connect(("127.0.0.2", toy.server.port))


async def test_bind_port_in_use_fails_with_the_address_unless_shared() -> None:
    async with serving() as first:
        settings = listening(port=first.server.port, reuse_port=False)
        second = make_server([], first.pipeline, settings)
        with pytest.raises(BindFailed, match=f"127.0.0.1:{first.server.port}"):
            await second.start()
        async with serving(listening(port=first.server.port)) as shared:
            assert shared.server.port == first.server.port


async def test_bind_bad_host_fails_with_the_address() -> None:
    with pytest.raises(BindFailed, match=r"no-such-host\.invalid:0"):
        async with serving(listening(bind_address="no-such-host.invalid", port=0)):
            pass


async def test_tls_client_that_knows_the_ca_is_served_and_others_are_not() -> None:
    authority = Authority.make("ours")
    certificate, key = authority.issue("server")
    async with serving(listening(tls=ServerTls(certificate, key, None, "1.2"))) as toy:
        async with client(toy.target, grpc.ssl_channel_credentials(authority.certificate)) as calls:
            assert (await _push(calls)).payload == "{}"
        for credentials in (None, grpc.ssl_channel_credentials(Authority.make("other").certificate)):
            async with client(toy.target, credentials) as calls:
                with pytest.raises(aio.AioRpcError) as refused:
                    await _push(calls)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_connection_is_version_1_3_and_speaks_h2() -> None:
    authority = Authority.make("ours")
    certificate, key = authority.issue("server")
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    async with serving(listening(tls=ServerTls(certificate, key, None, "1.2"))) as toy:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", toy.server.port, ssl=context, server_hostname="localhost"
        )
        connection = writer.get_extra_info("ssl_object")
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "h2")
        writer.close()


@pytest.mark.parametrize(("minimum", "warnings"), [("1.2", 0), ("1.3", 1)])
async def test_tls_minimum_version_is_kept_or_warned_of(
    minimum: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority.make("ours")
    certificate, key = authority.issue("server")
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    async with serving(listening(tls=ServerTls(certificate, key, None, minimum))) as toy:
        try:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", toy.server.port, ssl=context, server_hostname="localhost"
            )
        except (ssl.SSLError, ConnectionError):
            served = False
        else:
            served = True
            writer.close()
    warned = sum("TLS 1.2" in record.getMessage() for record in caplog.records)
    if Chosen.name == "grpcio":
        assert (served, warned) == (True, warnings)
    else:
        assert (served, warned) == (minimum == "1.2", 0)


async def test_tls_unreadable_certificate_fails_the_start() -> None:
    with pytest.raises(BindFailed):
        async with serving(listening(tls=ServerTls(b"no", b"no", None, "1.2"))):
            pass


async def test_mtls_only_certificates_of_the_client_ca_are_served() -> None:
    authority, clients = Authority.make("ours"), Authority.make("clients")
    certificate, key = authority.issue("server")
    good_certificate, good_key = clients.issue("client")
    bad_certificate, bad_key = authority.issue("client")
    async with serving(listening(tls=ServerTls(certificate, key, clients.certificate, "1.2"))) as toy:
        good = grpc.ssl_channel_credentials(authority.certificate, good_key, good_certificate)
        async with client(toy.target, good) as calls:
            assert (await _push(calls)).payload == "{}"
        for credentials in (
            grpc.ssl_channel_credentials(authority.certificate),
            grpc.ssl_channel_credentials(authority.certificate, bad_key, bad_certificate),
        ):
            async with client(toy.target, credentials) as calls:
                with pytest.raises(aio.AioRpcError) as refused:
                    await _push(calls)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_http2_settings_announce_window_and_stream_limit() -> None:
    settings = listening(stream_window=3_000_000, max_concurrent_streams=77)
    async with serving(settings) as toy, raw_http2.connected(toy.server.port) as connection:
        announced = await connection.settings()
    assert announced[raw_http2.INITIAL_WINDOW_SIZE] == 3_000_000
    assert announced[raw_http2.MAX_CONCURRENT_STREAMS] == 77


async def test_pings_more_often_than_allowed_are_turned_away() -> None:
    async with serving() as toy, raw_http2.connected(toy.server.port) as connection:
        answers = [await connection.ping()]
        while answers[-1] == raw_http2.PING and len(answers) < 10:
            answers.append(await connection.ping())
    assert answers[-1] == raw_http2.GOAWAY


async def test_pings_of_an_idle_connection_at_the_allowed_rate_are_answered() -> None:
    settings = listening(min_ping_interval=0.0)
    async with serving(settings) as toy, raw_http2.connected(toy.server.port) as connection:
        assert [await connection.ping() for _ in range(20)] == [raw_http2.PING] * 20


SDK_PING_INTERVAL = 5.0
"""Seconds between the pings of the SDK that sends most of them."""


async def test_pings_a_little_slower_than_allowed_keep_a_connection_without_calls() -> None:
    least = 0.2
    settings = listening(min_ping_interval=least)
    async with serving(settings) as toy, raw_http2.connected(toy.server.port) as connection:
        for _ in range(8):
            assert await connection.ping() == raw_http2.PING
            await _after(least * SDK_PING_INTERVAL / listening().min_ping_interval)


async def _after(seconds: float) -> None:
    """Let a time pass: what is tested here is how often something comes."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(seconds, passed.set_result, None)
    await passed


def test_pings_of_sdks_are_slower_than_what_is_allowed() -> None:
    assert listening().min_ping_interval < SDK_PING_INTERVAL


async def test_pings_of_the_server_come_on_a_connection_that_is_silent() -> None:
    settings = listening(keepalive_after=1.0, keepalive_timeout=2.0)
    async with serving(settings) as toy, raw_http2.connected(toy.server.port) as connection:
        _, flags, _ = await connection.receive_kind(raw_http2.PING)
    assert flags == 0


async def test_health_without_a_token_tells_each_service() -> None:
    async with serving(listening(health=True)) as toy, client(toy.target) as calls:
        stub = health_pb2_grpc.HealthStub(calls.channel)
        for name in ("", "Dispatcher", "EventsService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_is_off_unless_asked_for() -> None:
    async with serving() as toy, client(toy.target) as calls:
        with pytest.raises(aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(calls.channel).Check(health_pb2.HealthCheckRequest())
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_watch_tells_the_stop_and_ends() -> None:
    async with serving(listening(health=True)) as toy, client(toy.target) as calls:
        stream = health_pb2_grpc.HealthStub(calls.channel).Watch(health_pb2.HealthCheckRequest())
        first = await stream.read()
        stop = asyncio.create_task(toy.server.stop(30))
        second = await stream.read()
        assert await stream.read() is aio.EOF
        await stop
    assert [first.status, second.status] == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


async def test_health_tells_that_the_server_is_about_to_stop_while_it_serves_on() -> None:
    async with serving(listening(health=True)) as toy, client(toy.target) as calls:
        stub = health_pb2_grpc.HealthStub(calls.channel)
        stream = stub.Watch(health_pb2.HealthCheckRequest())
        first = await stream.read()
        toy.pipeline.leaving.set()
        second = await stream.read()
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == second.status
        assert (await _push(calls)).payload == "{}"
        assert not stream.done()
    assert [first.status, second.status] == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


async def _reflect(calls: Any, **request: str) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(calls.channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**request)]))
    return await stream.read()


async def test_reflection_lists_services_and_describes_ours() -> None:
    async with serving(listening(reflection=True, health=True)) as toy, client(toy.target) as calls:
        listed = await _reflect(calls, list_services="*")
        described = await _reflect(calls, file_containing_symbol="Dispatcher")
        health = await _reflect(calls, file_containing_symbol="grpc.health.v1.Health")
    names = {service.name for service in listed.list_services_response.service}
    assert {"Dispatcher", "EventsService", "grpc.health.v1.Health"} <= names
    files = [
        FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0]).name
        for answer in (described, health)
    ]
    assert files == ["dispatcher.proto", "grpc_health/v1/health.proto"]


async def test_reflection_is_off_by_default() -> None:
    async with serving() as toy, client(toy.target) as calls:
        # Nothing is sent: grpcio takes a refusal that comes before its message left for a fault of its own.
        stream = reflection_pb2_grpc.ServerReflectionStub(calls.channel).ServerReflectionInfo()
        with pytest.raises(aio.AioRpcError) as refused:
            await stream.read()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("worker", "received", "patience"), [("polite", ["0", "last"], 30.0), ("deaf", ["0"], 0.3)]
)
async def test_stop_ends_open_streams_with_ok(worker: str, received: list[str], patience: float) -> None:
    settings = listening(stream_patience=patience)
    async with serving(settings) as toy, client(toy.target) as calls:
        stream = calls.listen(listen(worker), metadata=BEARER)
        answers = aiter(stream)
        actions = [(await anext(answers)).action_id]
        await toy.server.stop(30)
        actions += [action.action_id async for action in answers]
        assert await stream.code() is grpc.StatusCode.OK
    assert actions == received
    assert toy.servicer.finished == [worker]
    assert toy.seen.durations[0][1] is Code.OK


async def test_stop_ends_a_stream_whose_client_sends_too() -> None:
    settings = listening(stream_patience=0.1)
    async with serving(settings) as toy, client(toy.target) as calls:
        stream = calls.subscribe(metadata=BEARER)
        await toy.seen.until(lambda: toy.seen.open_streams)
        await toy.server.stop(30)
        assert await stream.read() is aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_stop_serves_unary_calls_to_their_end() -> None:
    async with serving() as toy, client(toy.target) as calls:
        call = calls.register(register("wait"), metadata=BEARER)
        await asyncio.wait_for(toy.servicer.began.wait(), 30)
        stop = asyncio.create_task(toy.server.stop(30))
        await asyncio.wait_for(toy.pipeline.closing.wait(), 30)
        toy.servicer.release.set()
        assert (await call).worker_id == "w"
        await stop


async def test_stop_cuts_what_outlasts_its_timeout() -> None:
    async with serving() as toy, client(toy.target) as calls:
        call = calls.register(register("wait"), metadata=BEARER)
        await asyncio.wait_for(toy.servicer.began.wait(), 30)
        await asyncio.wait_for(toy.server.stop(0.2), 30)
        with pytest.raises(aio.AioRpcError) as refused:
            await call
    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    await asyncio.wait_for(toy.servicer.cancelled.wait(), 30)


async def _two_on_a_port(stack: AsyncExitStack) -> tuple[Toy, Toy, Client]:
    """A server, the next one on its port, and a client of the first."""
    old = await stack.enter_async_context(serving())
    new = await stack.enter_async_context(serving(listening(port=old.server.port)))
    while True:
        # The kernel spreads connections over both.
        calls = await stack.enter_async_context(client(old.target))
        await _push(calls)
        if old.servicer.calls:
            return old, new, calls


async def test_leave_sends_the_next_calls_elsewhere_and_keeps_open_streams() -> None:
    async with AsyncExitStack() as stack:
        old, new, calls = await _two_on_a_port(stack)
        stream = calls.listen(listen("polite"), metadata=BEARER)
        answers = aiter(stream)
        actions = [(await anext(answers)).action_id]
        served = len(new.servicer.calls)
        await old.server.leave(10)
        refused = []
        while len(new.servicer.calls) == served:
            try:
                await _push(calls)
            except aio.AioRpcError as error:
                refused.append(error.code())
        assert not stream.done()
        assert not old.pipeline.closing.is_set()
        await old.server.stop(10)
        actions += [action.action_id async for action in answers]
        assert await stream.code() is grpc.StatusCode.OK
    assert actions == ["0", "last"]
    # grpcio returns before its client has heard, and refuses what comes until then.
    assert not refused or isinstance(old.server, GrpcioServer)


async def test_stop_hands_a_shared_port_over_to_the_next_server() -> None:
    async with AsyncExitStack() as stack:
        old, new, calls = await _two_on_a_port(stack)
        before = len(new.servicer.calls)
        stop = asyncio.create_task(old.server.stop(10))
        refused = []
        for _ in range(200):
            try:
                await _push(calls)
            except aio.AioRpcError as error:
                refused.append(error.code())
        await stop
    assert len(new.servicer.calls) > before
    # grpcio refuses, unserved, the call that crosses its goodbye to the connection, or lets it wait for the
    # end of the stop, before which the caller's own deadline may come. Ours serves it.
    assert len(refused) <= 1
    crossed = {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    assert set(refused) <= (crossed if isinstance(old.server, GrpcioServer) else set())
