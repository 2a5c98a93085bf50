"""The private descriptor pool of our protobuf modules.

Message classes of two pools are different types even when their descriptors are equal: a message field of
ours takes no `google.protobuf.timestamp_pb2.Timestamp`. Fill such fields in place
(`message.created_at.FromDatetime(now)`), or build them with `Timestamp` from this module.
"""

from collections.abc import MutableMapping
from typing import cast

from google.protobuf import any_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()
"""Every file under `grpc_api/protos`, and the well-known types they import."""


def add_file(file: FileDescriptor) -> None:
    """Make a file of the process-wide pool known in ours (its imports first)."""
    for dependency in file.dependencies:
        add_file(dependency)
    POOL.AddSerializedFile(file.serialized_pb)


def message_class(descriptor: Descriptor) -> type[Message]:
    """The class whose instances are messages of this description."""
    return GetMessageClass(descriptor)


def load(serialized: bytes, namespace: MutableMapping[str, object]) -> FileDescriptor:
    """Add one serialised file to the pool, and its messages and enums to a module's namespace.

    Files must be loaded after those they import.
    """
    file = POOL.AddSerializedFile(serialized)
    for name, message in file.message_types_by_name.items():
        namespace[name] = message_class(message)
    for name, enum in file.enum_types_by_name.items():
        namespace[name] = EnumTypeWrapper(enum)
        for value in enum.values:
            namespace[value.name] = value.number
    return file


add_file(timestamp_pb2.DESCRIPTOR)
add_file(any_pb2.DESCRIPTOR)

Timestamp = cast(
    type[timestamp_pb2.Timestamp], GetMessageClass(POOL.FindMessageTypeByName("google.protobuf.Timestamp"))
)
"""`google.protobuf.Timestamp` of our pool, with ToDatetime, FromDatetime and the rest."""
