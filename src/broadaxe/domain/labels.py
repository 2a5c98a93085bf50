"""Which workers a task may run on, and which it would rather: label wishes against workers' labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import IntEnum
from typing import Protocol

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.workflow import LabelRequest


class WorkerLabel(Protocol):
    """A worker's label: a text or a whole number, the other is None."""

    @property
    def text(self) -> str | None: ...
    @property
    def number(self) -> int | None: ...


class Comparator(IntEnum):
    """How a worker's label (left) is compared with the wish (right). Values are the wire's."""

    EQUAL = 0
    NOT_EQUAL = 1
    GREATER_THAN = 2
    GREATER_THAN_OR_EQUAL = 3
    LESS_THAN = 4
    LESS_THAN_OR_EQUAL = 5


def rank_worker(requests: Sequence[LabelRequest], labels: Mapping[str, WorkerLabel]) -> int | None:
    """The sum of the weights of the wishes this worker meets, or None if it fails a required one.

    A label the worker does not have meets no wish, not even `!=`.
    """
    rank = 0
    for request in requests:
        if label_met(request, labels.get(request.key)):
            rank += request.weight
        elif request.required:
            return None
    return rank


def label_met(request: LabelRequest, label: WorkerLabel | None) -> bool:
    """Whether a label meets a wish. Texts only know `=` and `!=`; a text never equals a number."""
    if label is None:
        return False
    if request.comparator == Comparator.EQUAL:
        return (label.text, label.number) == (request.text, request.number)
    if request.comparator == Comparator.NOT_EQUAL:
        return (label.text, label.number) != (request.text, request.number)
    if label.number is None or request.number is None:
        return False
    return _ordered(label.number, request.number, request.comparator)


def _ordered(have: int, want: int, comparator: int) -> bool:
    if comparator == Comparator.GREATER_THAN:
        return have > want
    if comparator == Comparator.GREATER_THAN_OR_EQUAL:
        return have >= want
    if comparator == Comparator.LESS_THAN:
        return have < want
    return comparator == Comparator.LESS_THAN_OR_EQUAL and have <= want


def label_problem(request: LabelRequest) -> str | None:
    """What is wrong with a wish, or None."""
    if not request.key:
        return "key must not be empty"
    if (request.text is None) == (request.number is None):
        return f'"{request.key}" needs either a text or a number'
    if request.comparator not in list(Comparator):
        return f'"{request.key}" has the unknown comparator {request.comparator}'
    if request.comparator >= Comparator.GREATER_THAN and request.number is None:
        return f'"{request.key}" compares the order of a text; only numbers have one'
    return None


def encode_requests(requests: Sequence[LabelRequest]) -> bytes:
    """The wishes as a JSON array, as `TaskFacts.desired_labels` keeps them."""
    names = [field.name for field in fields(LabelRequest)]
    return json.dumps([{name: getattr(r, name) for name in names} for r in requests]).encode()


def decode_requests(data: bytes) -> tuple[LabelRequest, ...]:
    """The wishes of a JSON array made by `encode_requests`. Raises InvalidArgument for anything else."""
    try:
        return tuple(LabelRequest(**item) for item in json.loads(data))
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"desired labels: {error}") from error
