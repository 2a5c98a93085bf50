"""What every answer shares: errors, pages, the head of a resource."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Raw, Struct

JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": True})]
"""A JSON object that is passed on as it was stored, byte for byte."""


ABSENT = Raw(b"null")
"""What a member of a request holds that was left out: a union of a raw text and null cannot be decoded."""


class APIError(Struct, omit_defaults=True):
    """One thing that is wrong."""

    description: str
    code: int | None = None
    field: str | None = None
    """The parameter or member at fault."""
    docs_link: str | None = None


class APIErrors(Struct):
    """The body of every refusal."""

    errors: list[APIError]


class PaginationResponse(Struct, omit_defaults=True):
    """Where in a list a page is; counts from 1."""

    current_page: int | None = None
    next_page: int | None = None
    num_pages: int | None = None


class APIResourceMeta(Struct, rename="camel"):
    """The head of every resource."""

    id: UUID
    created_at: datetime
    updated_at: datetime
