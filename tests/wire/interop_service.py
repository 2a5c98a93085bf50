"""gRPC's interop test service, as far as a handler behind our seam can be it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
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


_FILE = _describe()


def _new(name: str, **fields: Any) -> Message:
    return GetMessageClass(_FILE.message_types_by_name[name])(**fields)


def _payload(size: int) -> Message:
    return _new("Payload", body=bytes(size))


def _check_status(request: Any, call: Call) -> None:
    if request.response_status.code:
        call.abort(Code(request.response_status.code), request.response_status.message)


class InteropServicer:
    """All but the echo of metadata, since handlers send none of their own."""

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
        return _new("Empty")

    async def unary(self, request: Any, call: Call) -> Message:
        _check_status(request, call)
        return _new("SimpleResponse", payload=_payload(request.response_size))

    async def output(self, request: Any, call: Call) -> AsyncIterator[Message]:
        _check_status(request, call)
        for wanted in request.response_parameters:
            await asyncio.sleep(wanted.interval_us / 1e6)
            yield _new("StreamingOutputCallResponse", payload=_payload(wanted.size))

    async def input(self, requests: AsyncIterator[Any], call: Call) -> Message:
        total = 0
        async for request in requests:
            total += len(request.payload.body)
        return _new("StreamingInputCallResponse", aggregated_payload_size=total)

    async def duplex(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Message]:
        async for request in requests:
            async for answer in self.output(request, call):
                yield answer
