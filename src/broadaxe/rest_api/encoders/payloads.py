"""Payloads on their way out: stored JSON texts go into an answer as they are, never decoded and rebuilt."""

import math
from typing import TypeVar

import msgspec
from msgspec import Raw

from broadaxe.rest_api.models.envelope import PaginationResponse
from broadaxe.views.model import Page

T = TypeVar("T")

_EMPTY = Raw(b"{}")
_objects = msgspec.json.Decoder(dict[str, Raw])


def as_object(text: bytes) -> Raw:
    """A JSON text as the value of a member that must be an object.

    Absent is `{}`. Another JSON value becomes `{"value": ...}`, and so does, as a string, what is no JSON at
    all: one broken payload must not break the list that it stands in.
    """
    if not text:
        return _EMPTY
    try:
        text.decode()
        if text.lstrip()[:1] == b"{":
            _objects.decode(text)
            return Raw(text)
        msgspec.json.decode(text, type=Raw)
        return Raw(b'{"value":' + text + b"}")
    except (UnicodeDecodeError, msgspec.DecodeError):
        return Raw(msgspec.json.encode({"value": text.decode(errors="replace")}))


def as_task_input(text: bytes) -> Raw:
    """The input of a task as its readers expect it: wrapped, as it goes to the worker."""
    return Raw(b'{"input":' + bytes(as_object(text)) + b"}")


def as_optional_object(text: bytes) -> Raw | None:
    """A JSON object that may be left out."""
    return as_object(text) if text else None


def paginate(page: Page[T]) -> PaginationResponse:
    """Where a page is in its list."""
    current = page.offset // page.limit + 1
    if page.total is None:
        more = len(page.rows) == page.limit
        return PaginationResponse(current_page=current, next_page=current + 1 if more else current)
    pages = math.ceil(page.total / page.limit)
    return PaginationResponse(current_page=current, next_page=min(current + 1, pages), num_pages=pages)
