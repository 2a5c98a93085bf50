"""gRPC's interop test service. Its wishes about compression are not read: a handler has no say in that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from broadaxe.grpc_api.call import Call, Code
from broadaxe.grpc_api.method import Method, service_methods

_KINDS = {"int32": 5, "bool": 8, "string": 9, "bytes": 12}
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    "Empty": [],
    "Payload": [("type", 1, "int32"), ("body", 2, "bytes")],
    "EchoStatus": [("code", 1, "int32"), ("message", 2, "string")],
    "SimpleRequest": [
        ("response_type", 1, "int32"),
        ("response_size", 2, "int32"),
        ("payload", 3, "Payload"),
        ("response_status", 7, "EchoStatus"),
    ],
    "SimpleResponse": [("payload", 1, "Payload")],
    "StreamingInputCallRequest": [("payload", 1, "Payload")],
    "StreamingInputCallResponse": [("aggregated_payload_size", 1, "int32")],
    "ResponseParameters": [("size", 1, "int32"), ("interval_us", 2, "int32")],
    "StreamingOutputCallRequest": [
        ("response_type", 1, "int32"),
        ("response_parameters", 2, "ResponseParameters*"),
        ("payload", 3, "Payload"),
        ("response_status", 7, "EchoStatus"),
    ],
    "StreamingOutputCallResponse": [("payload", 1, "Payload")],
}
_METHODS = [
    ("EmptyCall", "Empty", "Empty", False, False),
    ("UnaryCall", "SimpleRequest", "SimpleResponse", False, False),
    ("StreamingOutputCall", "StreamingOutputCallRequest", "StreamingOutputCallResponse", False, True),
    ("StreamingInputCall", "StreamingInputCallRequest", "StreamingInputCallResponse", True, False),
    ("FullDuplexCall", "StreamingOutputCallRequest", "StreamingOutputCallResponse", True, True),
    ("UnimplementedCall", "Empty", "Empty", False, False),
]


def _describe() -> Any:
    file = FileDescriptorProto(name="interop.proto", package="grpc.testing", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = 3 if kind.endswith("*") else 1
            added = FieldDescriptorProto(name=field, number=number, label=label)
            kind = kind.rstrip("*")
            added.type = _KINDS.get(kind, 11)
            if kind not in _KINDS:
                added.type_name = f".grpc.testing.{kind}"
            message.field.append(added)
    service = file.service.add(name="TestService")
    for name, takes, gives, streams_in, streams_out in _METHODS:
        service.method.add(
            name=name,
            input_type=f".grpc.testing.{takes}",
            output_type=f".grpc.testing.{gives}",
            client_streaming=streams_in,
            server_streaming=streams_out,
        )
    return DescriptorPool().AddSerializedFile(file.SerializeToString())


ECHO_INITIAL, ECHO_TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"

_FILE = _describe()


def description() -> bytes:
    """The service as a serialised FileDescriptorSet, for clients in other languages."""
    described = FileDescriptorProto()
    _FILE.CopyToProto(described)
    return FileDescriptorSet(file=[described]).SerializeToString()


def message(name: str, **fields: Any) -> Any:
    """A new message of the service."""
    return message_class(name)(**fields)


def message_class(name: str) -> Any:
    """Its class."""
    return GetMessageClass(_FILE.message_types_by_name[name])


def _payload(size: int) -> Message:
    return message("Payload", body=bytes(size))


def _check_status(request: Any, call: Call) -> None:
    if request.response_status.code:
        call.abort(Code(request.response_status.code), request.response_status.message)


def _echo(call: Call) -> None:
    """Send back what the case of custom metadata sends."""
    initial = call.metadata.get(ECHO_INITIAL)
    if initial is not None:
        call.add_initial_metadata(ECHO_INITIAL, initial)
    trailing = call.metadata.get(ECHO_TRAILING)
    if trailing is not None:
        call.add_trailing_metadata(ECHO_TRAILING, trailing)


class InteropServicer:
    """Every method but those of other cases than ours."""

    def methods(self) -> list[Method]:
        return service_methods(
            _FILE.services_by_name["TestService"],
            {
                "EmptyCall": self.empty,
                "UnaryCall": self.unary,
                "StreamingOutputCall": self.output,
                "StreamingInputCall": self.input,
                "FullDuplexCall": self.duplex,
            },
            rate_group=None,
        )

    async def empty(self, request: Any, call: Call) -> Message:
        return message("Empty")

    async def unary(self, request: Any, call: Call) -> Message:
        _echo(call)
        _check_status(request, call)
        return message("SimpleResponse", payload=_payload(request.response_size))

    async def output(self, request: Any, call: Call) -> AsyncIterator[Message]:
        _check_status(request, call)
        for wanted in request.response_parameters:
            await asyncio.sleep(wanted.interval_us / 1e6)
            yield message("StreamingOutputCallResponse", payload=_payload(wanted.size))

    async def input(self, requests: AsyncIterator[Any], call: Call) -> Message:
        total = 0
        async for request in requests:
            total += len(request.payload.body)
        return message("StreamingInputCallResponse", aggregated_payload_size=total)

    async def duplex(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Message]:
        _echo(call)
        async for request in requests:
            async for answer in self.output(request, call):
                yield answer
