"""What goes with a refusal in `grpc-status-details-bin`, where SDKs look for it."""

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.idempotency import BulkCollision, Collision
from broadaxe.engine.api import Refusal
from broadaxe.grpc_api.call import Code, RpcError
from broadaxe.grpc_api.errors import CODES, message_detail
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as pb

_NAMED = 20
"""Refused events that the text of a refusal names; the details hold all."""


def encode_detail(detail: object) -> Message | None:
    """The message for the detail of an `AlreadyExists`."""
    if isinstance(detail, Collision):
        return _collision(detail)
    if isinstance(detail, BulkCollision):
        return pb.BulkTriggerIdempotencyCollisionError(
            successful_workflow_run_external_ids=[str(one) for one in detail.started],
            collisions=[_collision(one) for one in detail.collisions],
        )
    return message_detail(detail)


def _collision(detail: Collision) -> pb.IdempotencyCollisionError:
    return pb.IdempotencyCollisionError(existing_run_external_id=str(detail.existing))


def refused_events(refusals: list[Refusal], pushed: int) -> RpcError:
    """The answer to a bulk of events of which some were refused: `pushed` others are stored.

    Never a code that SDKs try again on while others are stored: those would be stored twice.
    """
    violations = [
        BadRequest.FieldViolation(field=f"events[{one.index}]", description=one.error.message)
        for one in refusals
    ]
    named = "; ".join(f"events[{one.index}].{one.error.message}" for one in refusals[:_NAMED])
    more = f"; and {len(refusals) - _NAMED} more" if len(refusals) > _NAMED else ""
    code = CODES[InvalidArgument] if pushed else _code(refusals[0])
    text = f"{named}{more} ({pushed} other events were stored)"
    return RpcError(code, text, BadRequest(field_violations=violations))


def _code(refusal: Refusal) -> Code:
    for kind in type(refusal.error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return Code.INVALID_ARGUMENT
