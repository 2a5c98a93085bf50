"""gRPC's interop cases with grpcio's client. A case takes a channel and raises when the server is wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import aio
from interop_service import ECHO_INITIAL, ECHO_TRAILING, message, message_class

REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
LARGE_REQUEST, LARGE_RESPONSE = 271_828, 314_159
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"

Case = Callable[[aio.Channel], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(run: Case) -> Case:
    """Name a case by its function."""
    CASES[run.__name__] = run
    return run


class Stub:
    """The service's methods on a channel."""

    def __init__(self, channel: aio.Channel, service: str = "grpc.testing.TestService") -> None:
        def encode(one: Any) -> bytes:
            return one.SerializeToString()

        def path(method: str) -> str:
            return f"/{service}/{method}"

        def decode(name: str) -> Any:
            return message_class(name).FromString

        self.empty = channel.unary_unary(path("EmptyCall"), encode, decode("Empty"))
        self.unary = channel.unary_unary(path("UnaryCall"), encode, decode("SimpleResponse"))
        self.output = channel.unary_stream(
            path("StreamingOutputCall"), encode, decode("StreamingOutputCallResponse")
        )
        self.input = channel.stream_unary(
            path("StreamingInputCall"), encode, decode("StreamingInputCallResponse")
        )
        self.duplex = channel.stream_stream(
            path("FullDuplexCall"), encode, decode("StreamingOutputCallResponse")
        )
        self.unimplemented = channel.unary_unary(path("UnimplementedCall"), encode, decode("Empty"))


def payload(size: int) -> Any:
    return message("Payload", body=bytes(size))


def large(**more: Any) -> Any:
    return message("SimpleRequest", response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST), **more)


def wanted(*sizes: int, payload_size: int | None = None, interval_us: int = 0, **more: Any) -> Any:
    """A request for answers of these sizes."""
    parameters = [message("ResponseParameters", size=size, interval_us=interval_us) for size in sizes]
    if payload_size is not None:
        more["payload"] = payload(payload_size)
    return message("StreamingOutputCallRequest", response_parameters=parameters, **more)


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def _refusal(call: Any) -> aio.AioRpcError:
    try:
        await call
    except aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


@case
async def empty_unary(channel: aio.Channel) -> None:
    assert await Stub(channel).empty(message("Empty")) == message("Empty")


@case
async def large_unary(channel: aio.Channel) -> None:
    answer = await Stub(channel).unary(large())
    assert answer.payload.body == bytes(LARGE_RESPONSE)


@case
async def client_streaming(channel: aio.Channel) -> None:
    requests = [message("StreamingInputCallRequest", payload=payload(size)) for size in REQUEST_SIZES]
    answer = await Stub(channel).input(_each(requests))
    assert answer.aggregated_payload_size == sum(REQUEST_SIZES)


@case
async def server_streaming(channel: aio.Channel) -> None:
    answers = [len(answer.payload.body) async for answer in Stub(channel).output(wanted(*RESPONSE_SIZES))]
    assert answers == list(RESPONSE_SIZES)


@case
async def ping_pong(channel: aio.Channel) -> None:
    call = Stub(channel).duplex()
    for sent, expected in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
        await call.write(wanted(expected, payload_size=sent))
        assert len((await call.read()).payload.body) == expected
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@case
async def empty_stream(channel: aio.Channel) -> None:
    call = Stub(channel).duplex()
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@case
async def custom_metadata(channel: aio.Channel) -> None:
    metadata = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab"))
    stub = Stub(channel)
    unary = stub.unary(large(), metadata=metadata)
    duplex = stub.duplex(metadata=metadata)
    await duplex.write(wanted(LARGE_RESPONSE, payload_size=LARGE_REQUEST))
    await duplex.done_writing()
    assert len((await duplex.read()).payload.body) == LARGE_RESPONSE
    assert await duplex.read() is aio.EOF
    for call in (unary, duplex):
        initial, trailing = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
        assert initial[ECHO_INITIAL] == "test_initial_metadata_value"
        assert trailing[ECHO_TRAILING] == b"\xab\xab\xab"
        assert await call.code() is grpc.StatusCode.OK


@case
async def status_code_and_message(channel: aio.Channel) -> None:
    stub = Stub(channel)
    status = message("EchoStatus", code=2, message="test status message")
    error = await _refusal(stub.unary(message("SimpleRequest", response_status=status)))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")
    duplex = stub.duplex()
    await duplex.write(wanted(response_status=status))
    await duplex.done_writing()
    assert (await duplex.code(), await duplex.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


@case
async def special_status_message(channel: aio.Channel) -> None:
    status = message("EchoStatus", code=2, message=SPECIAL)
    error = await _refusal(Stub(channel).unary(message("SimpleRequest", response_status=status)))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, SPECIAL)


@case
async def unimplemented_method(channel: aio.Channel) -> None:
    error = await _refusal(Stub(channel).unimplemented(message("Empty")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@case
async def unimplemented_service(channel: aio.Channel) -> None:
    stub = Stub(channel, "grpc.testing.UnimplementedService")
    error = await _refusal(stub.unimplemented(message("Empty")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@case
async def cancel_after_begin(channel: aio.Channel) -> None:
    call = Stub(channel).input()
    await call.wait_for_connection()
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


@case
async def cancel_after_first_response(channel: aio.Channel) -> None:
    call = Stub(channel).duplex()
    await call.write(wanted(31415, payload_size=27182))
    assert len((await call.read()).payload.body) == 31415
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


@case
async def timeout_on_sleeping_server(channel: aio.Channel) -> None:
    call = Stub(channel).duplex(timeout=0.05)
    # The deadline may pass before the request is out.
    with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(wanted(31415, payload_size=27182, interval_us=10_000_000))
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@case
async def compressed_unary(channel: aio.Channel) -> None:
    """On a channel that compresses."""
    answer = await Stub(channel).unary(large())
    assert answer.payload.body == bytes(LARGE_RESPONSE)


@case
async def compressed_client_streaming(channel: aio.Channel) -> None:
    requests = [message("StreamingInputCallRequest", payload=payload(size)) for size in REQUEST_SIZES]
    answer = await Stub(channel).input(_each(requests))
    assert answer.aggregated_payload_size == sum(REQUEST_SIZES)


@case
async def compressed_server_streaming(channel: aio.Channel) -> None:
    call = Stub(channel).output(wanted(31415, 92653, payload_size=LARGE_REQUEST))
    assert [len(answer.payload.body) async for answer in call] == [31415, 92653]
