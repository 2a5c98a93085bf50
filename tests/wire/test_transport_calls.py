"""Every transport: kinds of calls, metadata, deadlines, cancellation, refusals."""

import asyncio
from typing import Any

import grpc
import h2.config
import h2.connection
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.rpc import status_pb2
from grpc import aio
from lean_peer import request_head
from toy_server import (
    BEARER,
    CHOSEN,
    TENANT,
    TOKEN,
    Client,
    Toy,
    client,
    listen,
    listening,
    register,
    serving,
)

from broadaxe.grpc_api.call import Call, Code
from broadaxe.grpc_api.lean.inbound import prefixed
from broadaxe.grpc_api.method import service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.wire import dispatcher_pb2, events_pb2, pool
from broadaxe.grpc_api.wire.v1 import workflows_pb2
from broadaxe.testkit.virtual_time import VirtualClock

pytestmark = pytest.mark.usefixtures("transport")


async def _refusal(call: Any) -> aio.AioRpcError:
    """How a call ends that must not succeed."""

    async def drained() -> None:
        if not hasattr(call, "__aiter__"):
            await call
        else:
            async for _ in call:
                pass

    with pytest.raises(aio.AioRpcError) as refused:
        await drained()
    return refused.value


def _push(payload: str = "{}", key: str = "k") -> events_pb2.PushEventRequest:
    return events_pb2.PushEventRequest(key=key, payload=payload)


async def test_transport_unary_unary_answers_with_the_tokens_tenant() -> None:
    async with serving() as toy, client(toy.target) as calls:
        event = await calls.push(_push('{"a": 1}'), metadata=BEARER)
    assert (event.payload, event.tenant_id) == ('{"a": 1}', str(TENANT))
    assert toy.servicer.calls[0].token_id == TOKEN


async def test_transport_unary_stream_sends_every_message_in_order() -> None:
    async with serving() as toy, client(toy.target) as calls:
        actions = [action.action_id async for action in calls.listen(listen("100"), metadata=BEARER)]
    assert actions == [str(number) for number in range(100)]
    assert toy.pipeline.open_streams == 0


async def test_transport_stream_stream_answers_while_the_client_still_sends() -> None:
    async with serving() as toy, client(toy.target) as calls:
        stream = calls.subscribe(metadata=BEARER)
        for run in ("one", "two"):
            await stream.write(dispatcher_pb2.SubscribeToWorkflowRunsRequest(workflow_run_id=run))
            answer = await stream.read()
            assert answer.workflow_run_id == run
        await stream.done_writing()
        assert await stream.read() is aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_transport_stream_unary_reads_all_requests_before_it_answers() -> None:
    file = FileDescriptorProto(name="toy.proto", package="toy", dependency=["dispatcher.proto"])
    file.syntax = "proto3"
    method = file.service.add(name="Toy").method.add(name="Join", client_streaming=True)
    method.input_type, method.output_type = ".toy.Word", ".toy.Word"
    text = FieldDescriptorProto(name="text", number=1, type=9, label=1)
    file.message_type.append(DescriptorProto(name="Word", field=[text]))
    described = pool.POOL.AddSerializedFile(file.SerializeToString())
    word = pool.message_class(described.message_types_by_name["Word"])

    async def join(requests: Any, call: Call) -> Any:
        return word(text=" ".join([request.text async for request in requests]))

    methods = service_methods(described.services_by_name["Toy"], {"Join": join}, RateGroup.ADMIN)
    async with serving(methods=methods) as toy, client(toy.target) as calls:
        rpc = calls.channel.stream_unary("/toy.Toy/Join", lambda m: m.SerializeToString(), word.FromString)
        answer = await rpc(iter([word(text="a"), word(text="b")]), metadata=BEARER)
    assert answer.text == "a b"


async def test_transport_gzip_request_is_accepted() -> None:
    async with serving() as toy, client(toy.target) as calls:
        event = await calls.push(_push("x" * 100_000), metadata=BEARER, compression=grpc.Compression.Gzip)
    assert len(event.payload) == 100_000


async def test_transport_request_below_the_limit_passes_and_above_is_refused() -> None:
    async with (
        serving() as toy,
        client(toy.target, max_receive_message_length=-1, max_send_message_length=-1) as calls,
    ):
        event = await calls.push(_push("x" * (4 * 1024 * 1024 - 100)), metadata=BEARER)
        refused = await _refusal(calls.push(_push("x" * (4 * 1024 * 1024 + 1)), metadata=BEARER))
    assert len(event.payload) == 4 * 1024 * 1024 - 100
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_transport_message_limit_follows_the_settings() -> None:
    async with serving(listening(max_message_size=1000)) as toy, client(toy.target) as calls:
        refused = await _refusal(calls.push(_push("x" * 1001), metadata=BEARER))
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_transport_metadata_reaches_the_call() -> None:
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    extra = (("x-note", "first"), ("x-note", "second"), ("x-raw-bin", b"\x00\xff"), ("traceparent", trace))
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=(*BEARER, *extra))
    call = toy.servicer.calls[0]
    assert call.method == "/EventsService/Push"
    assert (call.metadata["x-note"], call.metadata["x-raw-bin"]) == ("first", b"\x00\xff")
    assert call.caller == (b"\xab" * 16, b"\xcd" * 8, True)
    assert "127.0.0.1" in call.peer or "::1" in call.peer


async def test_transport_traceparent_absent_or_wrong_gives_no_caller() -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=BEARER)
        await calls.push(_push(), metadata=(*BEARER, ("traceparent", "nonsense")))
    assert [call.caller for call in toy.servicer.calls] == [None, None]


async def test_transport_deadline_passed_cancels_the_handler_of_a_caller_that_stays() -> None:
    """Over plain HTTP/2: clients of gRPC hang up at their deadline, which may come before the server's."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    peer.initiate_connection()
    peer.send_headers(1, request_head("/Dispatcher/Register", (("grpc-timeout", "200m"),)))
    peer.send_data(1, prefixed(register("wait").SerializeToString()), end_stream=True)
    async with serving() as toy:
        _, writer = await asyncio.open_connection("127.0.0.1", toy.server.port)
        writer.write(peer.data_to_send())
        await asyncio.wait_for(toy.servicer.cancelled.wait(), 30)
        await toy.seen.until(lambda: toy.seen.durations)
        writer.close()
    assert toy.seen.durations[0][:2] == ("Register", Code.DEADLINE_EXCEEDED)
    assert toy.servicer.calls[0].deadline is not None


async def test_transport_deadline_passed_is_told_to_the_client() -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=BEARER)  # the time is the call's, not the connection's
        refused = await _refusal(calls.register(register("wait"), metadata=BEARER, timeout=1.0))
        await asyncio.wait_for(toy.servicer.cancelled.wait(), 30)
        await toy.seen.until(lambda: len(toy.seen.durations) == 2)
    assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert toy.seen.durations[1][1] in (Code.DEADLINE_EXCEEDED, Code.CANCELLED)


async def test_transport_deadline_absent_is_none() -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=BEARER)
    assert toy.servicer.calls[0].deadline is None


async def test_transport_client_cancel_cancels_the_handler() -> None:
    async with serving() as toy, client(toy.target) as calls:
        call = calls.register(register("wait"), metadata=BEARER)
        await asyncio.wait_for(toy.servicer.began.wait(), 30)
        call.cancel()
        await asyncio.wait_for(toy.servicer.cancelled.wait(), 30)
        await toy.seen.until(lambda: toy.seen.durations)
    assert toy.servicer.calls[0].cancelled
    assert toy.seen.durations[0][:2] == ("Register", Code.CANCELLED)


async def test_transport_client_leaves_a_stream_closes_its_handler() -> None:
    async with serving() as toy, client(toy.target) as calls:
        stream = calls.listen(listen("deaf"), metadata=BEARER)
        await stream.read()
        assert toy.seen.open_streams == 1
        stream.cancel()
        await toy.seen.until(lambda: toy.seen.durations)
    assert toy.servicer.finished == ["deaf"]
    assert toy.servicer.calls[0].cancelled
    assert (toy.seen.open_streams, toy.pipeline.open_streams) == (0, 0)


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT, "worker_name: not this one"),
        ("missing", grpc.StatusCode.NOT_FOUND, "not found"),
        ("precondition", grpc.StatusCode.FAILED_PRECONDITION, "open the session first"),
        ("away", grpc.StatusCode.UNAVAILABLE, "later"),
        ("exists", grpc.StatusCode.ALREADY_EXISTS, "idempotency key collision"),
        ("timeout", grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"),
        ("cancel", grpc.StatusCode.CANCELLED, "the call was cancelled"),
        ("bug", grpc.StatusCode.INTERNAL, "An internal error occurred."),
        ("abort", grpc.StatusCode.OUT_OF_RANGE, "too far"),
    ],
)
async def test_transport_handler_raises_maps_to_its_status(
    name: str, code: grpc.StatusCode, text: str
) -> None:
    async with serving() as toy, client(toy.target) as calls:
        refused = await _refusal(calls.register(register(name), metadata=BEARER))
    assert (refused.code(), refused.details()) == (code, text)
    assert toy.seen.durations[0][1] == code.value[0]


async def test_transport_bug_in_a_handler_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as toy, client(toy.target) as calls:
        await _refusal(calls.register(register("bug"), metadata=BEARER))
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert "/Dispatcher/Register" in errors[0].getMessage()


async def test_transport_detail_of_a_refusal_travels_as_a_status() -> None:
    async with serving() as toy, client(toy.target) as calls:
        refused = await _refusal(calls.register(register("exists"), metadata=BEARER))
        plain = await _refusal(calls.register(register("missing"), metadata=BEARER))
    trailers = dict(refused.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = workflows_pb2.IdempotencyCollisionError()
    assert (status.code, status.message) == (6, "idempotency key collision")
    assert status.details[0].Unpack(detail)
    assert detail.existing_run_external_id == "one"
    assert "grpc-status-details-bin" not in dict(plain.trailing_metadata())


async def test_transport_stream_refused_at_its_opening_has_the_status() -> None:
    async with serving() as toy, client(toy.target) as calls:
        refused = await _refusal(calls.listen(listen("unknown"), metadata=BEARER))
    assert refused.code() is grpc.StatusCode.NOT_FOUND
    assert toy.seen.spans[0][2] is Code.NOT_FOUND


async def test_transport_method_without_a_handler_is_unimplemented() -> None:
    async with serving() as toy, client(toy.target) as calls:
        unary = await _refusal(calls.unsubscribe(dispatcher_pb2.WorkerUnsubscribeRequest(), metadata=BEARER))
        stream = await _refusal(calls.listen_v1(listen("1"), metadata=BEARER))
        raw = calls.channel.unary_unary("/No/Such", lambda message: b"", lambda data: data)
        unknown = await _refusal(raw(None, metadata=BEARER))
    assert {unary.code(), stream.code(), unknown.code()} == {grpc.StatusCode.UNIMPLEMENTED}
    assert unary.details() == "Unsubscribe is not available on this server"
    assert stream.details() == "Listen is not available on this server"


async def test_transport_malformed_request_is_invalid() -> None:
    async with serving() as toy, client(toy.target) as calls:
        raw = calls.channel.unary_unary("/EventsService/Push", lambda message: message, lambda data: data)
        refused = await _refusal(raw(b"\xff\xff\xff", metadata=BEARER))
    assert (refused.code(), refused.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the request is no PushEventRequest",
    )


def _open(calls: Client, kind: str, metadata: Any) -> Any:
    if kind == "unary":
        return calls.push(_push(), metadata=metadata)
    if kind == "server stream":
        return calls.listen(listen("1"), metadata=metadata)
    return calls.subscribe(metadata=metadata)


@pytest.mark.parametrize("kind", ["unary", "server stream", "both streams"])
@pytest.mark.parametrize("header", [None, "Bearer bad", "Basic good", "good", "Bearer ", "Bearer broken"])
async def test_auth_refused_is_unauthenticated_on_every_kind(kind: str, header: str | None) -> None:
    metadata = () if header is None else (("authorization", header),)
    async with serving() as toy, client(toy.target) as calls:
        refused = await _refusal(_open(calls, kind, metadata))
    assert (refused.code(), refused.details()) == (grpc.StatusCode.UNAUTHENTICATED, "invalid auth token")
    assert toy.servicer.calls == []
    assert toy.seen.spans == []
    assert toy.seen.durations[0][1] is Code.UNAUTHENTICATED


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
async def test_auth_scheme_in_any_case_is_accepted(scheme: str) -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=(("authorization", f"{scheme} good"),))
    assert len(toy.servicer.calls) == 1


async def test_auth_store_away_is_unavailable_so_that_clients_come_back() -> None:
    async with serving() as toy, client(toy.target) as calls:
        refused = await _refusal(calls.push(_push(), metadata=(("authorization", "bearer away"),)))
    assert refused.code() is grpc.StatusCode.UNAVAILABLE


async def test_rate_limit_exceeded_is_resource_exhausted_for_its_group_alone() -> None:
    async with serving(rate=1, clock=VirtualClock()) as toy, client(toy.target) as calls:
        await calls.push(_push(), metadata=BEARER)
        refused = await _refusal(calls.push(_push(), metadata=BEARER))
        # The dispatcher has a bucket of its own, ten times as large.
        actions = [action async for action in calls.listen(listen("1"), metadata=BEARER)]
    assert (refused.code(), refused.details()) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "events rate limit exceeded",
    )
    assert len(actions) == 1


async def _until_open(toy: Toy) -> None:
    await toy.seen.until(lambda: toy.seen.spans)


async def test_span_of_a_unary_call_knows_parent_tenant_and_code() -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.push(_push(key="chosen"), metadata=BEARER)
        await calls.push(_push(), metadata=BEARER)
    (_, chosen, code), (_, other, _) = toy.seen.spans
    assert (chosen.parent, chosen.tenant, code) == (CHOSEN, TENANT, Code.OK)
    assert other.parent is None


async def test_span_of_a_heartbeat_is_not_recorded_but_its_duration_is() -> None:
    async with serving() as toy, client(toy.target) as calls:
        await calls.heartbeat(dispatcher_pb2.HeartbeatRequest(), metadata=BEARER)
    assert toy.seen.spans == []
    assert [name for name, _, _ in toy.seen.durations] == ["Heartbeat"]


@pytest.mark.parametrize("worker", ["quiet", "deaf"])
async def test_span_of_a_stream_ends_when_it_is_open(worker: str) -> None:
    async with serving() as toy, client(toy.target) as calls:
        stream = calls.listen(listen(worker), metadata=BEARER)
        await _until_open(toy)
        assert toy.seen.durations == []
        assert toy.seen.spans[0][2] is Code.OK
        stream.cancel()
        await toy.seen.until(lambda: toy.seen.durations)
    assert len(toy.seen.spans) == 1


async def test_transport_metadata_of_the_handler_reaches_the_client_whatever_the_end() -> None:
    async with serving() as toy, client(toy.target) as calls:
        toy.servicer.says = (("x-first", "one"), ("x-first", "two"), ("x-raw-bin", b"\x00\xff"))
        unary = calls.push(_push(), metadata=BEARER)
        stream = calls.listen(listen("2"), metadata=BEARER)
        empty = calls.listen(listen("0"), metadata=BEARER)
        failed = calls.listen(listen("unknown"), metadata=BEARER)
        exists = calls.register(register("exists"), metadata=BEARER)
        for call, count in ((stream, 2), (empty, 0)):
            assert len([action async for action in call]) == count
        assert (await _refusal(failed)).code() is grpc.StatusCode.NOT_FOUND
        refused = await _refusal(exists)
        # grpcio's client sometimes drops the initial metadata of a stream without a message.
        for call in (unary, stream, exists):
            told = [(key, value) for key, value in await call.initial_metadata() if key.startswith("x-")]
            assert told == list(toy.servicer.says)
        for call in (unary, stream, empty, failed, exists):
            told = [(key, value) for key, value in await call.trailing_metadata() if key.startswith("x-")]
            assert told == list(toy.servicer.says)
        assert status_pb2.Status.FromString(
            dict(refused.trailing_metadata())["grpc-status-details-bin"]
        ).details


async def test_transport_metadata_larger_than_a_frame_arrives() -> None:
    async with serving() as toy, client(toy.target, max_metadata_size=100_000) as calls:
        toy.servicer.says = tuple((f"x-{number}", "y" * 4000) for number in range(10))
        call = calls.push(_push(), metadata=BEARER)
        await call
        assert set(toy.servicer.says) <= set(await call.initial_metadata())
        assert set(toy.servicer.says) <= set(await call.trailing_metadata())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("", "x"),
        ("a b", "x"),
        (":status", "x"),
        ("grpc-status", "0"),
        ("x", "a\nb"),
        ("x", "é"),
        ("x", b"x"),
        ("x-bin", "x"),
    ],
)
def test_transport_metadata_that_cannot_be_sent_is_refused(key: str, value: str | bytes) -> None:
    for add in (Call("/a/b").add_initial_metadata, Call("/a/b").add_trailing_metadata):
        with pytest.raises(ValueError, match=r"cannot be|values are|printable"):
            add(key, value)
