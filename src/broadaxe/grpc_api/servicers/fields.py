"""Reading fields of requests: what is malformed is refused by name."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from broadaxe.domain.durations import parse_duration
from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.workflow import LabelRequest
from broadaxe.grpc_api.wire.v1.shared.trigger_pb2 import DesiredWorkerLabels


def uuid_field(text: str, field: str) -> UUID:
    """A UUID; InvalidArgument naming the field otherwise."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument(f"{field}: {text[:64]!r} is not a UUID") from None


def optional_uuid(text: str, field: str) -> UUID | None:
    """A UUID, or None for empty text (SDKs set empty strings for what they do not have)."""
    return uuid_field(text, field) if text else None


def duration_field(text: str, field: str) -> float:
    """Seconds of a Go duration such as `1m30s`."""
    try:
        return parse_duration(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{field}: {error.message}") from None


def time_field(stamp: Timestamp, field: str) -> datetime:
    """An aware UTC datetime."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{field}: {error}") from None


def label_requests(labels: Mapping[str, DesiredWorkerLabels]) -> tuple[LabelRequest, ...]:
    """Desired worker labels of a task or a trigger."""
    found = []
    for key, label in labels.items():
        found.append(
            LabelRequest(
                key=key,
                text=label.str_value if label.HasField("str_value") else None,
                number=label.int_value if label.HasField("int_value") else None,
                required=label.required,
                comparator=label.comparator,
                weight=label.weight if label.HasField("weight") else 100,
            )
        )
    return tuple(found)
