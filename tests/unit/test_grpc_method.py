"""The table of methods and the mapping of errors."""

from typing import Any

import pytest
from google.rpc.status_pb2 import Status

from broadaxe.domain import errors
from broadaxe.grpc_api.call import Call, Code, RpcError
from broadaxe.grpc_api.errors import CODES, foreseen, status_details
from broadaxe.grpc_api.method import Kind, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.wire import dispatcher_pb2
from broadaxe.grpc_api.wire.v1 import dispatcher_pb2 as v1_dispatcher_pb2
from broadaxe.grpc_api.wire.v1 import workflows_pb2

DISPATCHER = dispatcher_pb2.DESCRIPTOR.services_by_name["Dispatcher"]


async def _never(request: Any, call: Call) -> Any:
    raise AssertionError


def test_service_methods_describes_every_method_of_the_service() -> None:
    methods = service_methods(DISPATCHER, {}, RateGroup.DISPATCHER, untraced=frozenset({"Heartbeat"}))
    table = {method.name: method for method in methods}
    assert set(table) == set(DISPATCHER.methods_by_name)
    assert table["ListenV2"].kind is Kind.UNARY_STREAM
    assert table["SubscribeToWorkflowRuns"].kind is Kind.STREAM_STREAM
    assert table["Register"].kind is Kind.UNARY_UNARY
    assert table["Register"].full_name == "/Dispatcher/Register"
    assert table["Register"].request_class is dispatcher_pb2.WorkerRegisterRequest
    assert table["Register"].response_class is dispatcher_pb2.WorkerRegisterResponse
    assert [name for name, method in table.items() if not method.traced] == ["Heartbeat"]


def test_service_methods_package_is_in_the_full_name() -> None:
    service = v1_dispatcher_pb2.DESCRIPTOR.services_by_name["V1Dispatcher"]
    names = [method.full_name for method in service_methods(service, {}, RateGroup.DISPATCHER)]
    assert "/v1.V1Dispatcher/DurableTask" in names


@pytest.mark.parametrize("wrong", ["handler", "untraced"])
def test_service_methods_name_the_service_lacks_is_refused(wrong: str) -> None:
    handlers = {"Regster": _never} if wrong == "handler" else {}
    untraced = frozenset({"Regster"}) if wrong == "untraced" else frozenset[str]()
    with pytest.raises(ValueError, match="Dispatcher has no Regster"):
        service_methods(DISPATCHER, handlers, RateGroup.DISPATCHER, untraced=untraced)


async def test_service_methods_without_handler_refuses_with_the_text() -> None:
    methods = service_methods(DISPATCHER, {}, RateGroup.DISPATCHER, missing="comes later")
    table = {method.name: method for method in methods}
    with pytest.raises(errors.Unimplemented, match="Register comes later"):
        await table["Register"].handler(None, Call("m"))
    with pytest.raises(errors.Unimplemented, match="Listen comes later"):
        async for _ in table["Listen"].handler(None, Call("m")):
            pass


def test_foreseen_every_error_of_the_domain_has_a_code() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)} - {errors.BroadaxeError}
    assert set(CODES) == kinds
    for kind, code in CODES.items():
        refusal = foreseen(kind("why"))
        assert refusal is not None
        assert (refusal.code, refusal.message) == (code, "why")


def test_foreseen_subclass_has_the_code_of_its_base() -> None:
    class Special(errors.NotFound):
        pass

    refusal = foreseen(Special("gone"))
    assert refusal is not None
    assert refusal.code is Code.NOT_FOUND


@pytest.mark.parametrize("error", [KeyError("x"), errors.BroadaxeError("bare")])
def test_foreseen_anything_else_is_nothing(error: Exception) -> None:
    assert foreseen(error) is None


def test_foreseen_detail_goes_through_the_encoder() -> None:
    message = workflows_pb2.IdempotencyCollisionError(existing_run_external_id="one")
    refusal = foreseen(errors.AlreadyExists("taken", "one"), lambda detail: message)
    assert refusal is not None
    assert refusal.details is message
    plain = foreseen(errors.AlreadyExists("taken", "one"))
    assert plain is not None
    assert plain.details is None


def test_status_details_holds_code_message_and_detail() -> None:
    message = workflows_pb2.IdempotencyCollisionError(existing_run_external_id="one")
    encoded = status_details(RpcError(Code.ALREADY_EXISTS, "taken", message))
    assert encoded is not None
    status = Status.FromString(encoded)
    assert (status.code, status.message) == (6, "taken")
    assert status.details[0].type_url == "type.googleapis.com/v1.IdempotencyCollisionError"
    assert status_details(RpcError(Code.NOT_FOUND, "gone")) is None


def test_call_without_a_tenant_refuses_who_asks_for_it() -> None:
    with pytest.raises(RpcError) as refused:
        _ = Call("m").tenant_id
    assert refused.value.code is Code.UNAUTHENTICATED
