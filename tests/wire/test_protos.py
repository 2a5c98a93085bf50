"""The protocol files against the descriptors of the official Python SDK, and side by side with it."""

import importlib
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import status_pb2

from broadaxe.grpc_api import generate
from broadaxe.grpc_api.wire import events_pb2
from broadaxe.grpc_api.wire.pool import POOL, Timestamp
from broadaxe.grpc_api.wire.v1 import workflows_pb2

FILES = [
    "dispatcher",
    "events",
    "workflows",
    "v1.workflows",
    "v1.dispatcher",
    "v1.shared.condition",
    "v1.shared.trigger",
]


def _facts(serialized: bytes) -> FileDescriptorProto:
    """A file's description without what never travels: options of other languages, order of declarations."""
    file = FileDescriptorProto.FromString(serialized)
    file.ClearField("options")
    for service in file.service:
        for method in service.method:
            method.ClearField("options")
    for members in (file.message_type, file.enum_type, file.service):
        members.sort(key=lambda member: member.name)
    return file


@pytest.mark.parametrize("name", FILES)
def test_protos_compared_with_the_sdk_are_equal(name: str) -> None:
    """Messages (fields: name, number, type, label, oneof, presence), enums, services and stream kinds."""
    pytest.importorskip("hatchet_sdk", reason="the official SDK is not installed")
    theirs = importlib.import_module(f"hatchet_sdk.contracts.{name}_pb2")
    ours = importlib.import_module(f"broadaxe.grpc_api.wire.{name}_pb2")
    assert _facts(ours.DESCRIPTOR.serialized_pb) == _facts(theirs.DESCRIPTOR.serialized_pb)


def test_protos_compared_with_the_generated_modules_are_current() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    pytest.importorskip("mypy_protobuf", reason="mypy-protobuf is not installed")
    assert generate.stale(generate.generate()) == []


@pytest.mark.parametrize("order", [("ours", "theirs"), ("theirs", "ours")])
def test_wire_beside_the_sdk_in_one_process_loads_in_any_order(order: tuple[str, str]) -> None:
    pytest.importorskip("hatchet_sdk", reason="the official SDK is not installed")
    imports = {
        "ours": "from broadaxe.grpc_api.wire.v1 import workflows_pb2 as w, dispatcher_pb2 as d\n"
        "from broadaxe.grpc_api.wire import dispatcher_pb2, workflows_pb2, events_pb2",
        "theirs": "import hatchet_sdk\n"
        "from hatchet_sdk.contracts.v1 import workflows_pb2 as hw, dispatcher_pb2 as hd\n"
        "from hatchet_sdk.contracts import dispatcher_pb2 as hx, workflows_pb2 as hy, events_pb2 as hz",
    }
    use = (
        "sent = hx.HeartbeatRequest(worker_id='w'); sent.heartbeat_at.FromSeconds(5)\n"
        "got = dispatcher_pb2.HeartbeatRequest.FromString(sent.SerializeToString())\n"
        "assert got.heartbeat_at.ToSeconds() == 5 and type(got) is not type(sent)"
    )
    program = "\n".join((*(imports[name] for name in order), use))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_timestamp_in_the_private_pool_converts_both_ways() -> None:
    moment = datetime(2026, 8, 22, 10, 11, 12, 345678, tzinfo=UTC)
    event = events_pb2.Event()
    event.event_timestamp.FromDatetime(moment)
    assert events_pb2.Event.FromString(event.SerializeToString()).event_timestamp.ToDatetime(UTC) == moment

    stamp = Timestamp()
    stamp.FromDatetime(moment)
    assert events_pb2.Event(event_timestamp=stamp) == event


def test_status_detail_of_the_private_pool_unpacks_in_the_sdks_pool() -> None:
    sent = status_pb2.Status(code=6, message="idempotency key collision")
    sent.details.add().Pack(workflows_pb2.IdempotencyCollisionError(existing_run_external_id="one"))
    got = status_pb2.Status.FromString(sent.SerializeToString())

    contracts = pytest.importorskip(
        "hatchet_sdk.contracts.v1.workflows_pb2", reason="the official SDK is not installed"
    )
    detail = contracts.IdempotencyCollisionError()
    assert got.details[0].Unpack(detail)
    assert detail.existing_run_external_id == "one"


def test_pool_holds_all_services() -> None:
    for name in ("Dispatcher", "EventsService", "WorkflowService", "v1.AdminService", "v1.V1Dispatcher"):
        assert POOL.FindServiceByName(name).methods
