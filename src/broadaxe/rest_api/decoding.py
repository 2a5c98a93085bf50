"""From query strings and bodies to typed values; what is wrong is named in the refusal."""

import re
from collections.abc import Iterable
from typing import TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from broadaxe.rest_api.problems import Refusal

T = TypeVar("T")

MAX_QUERY_FIELDS = 2_000

_shapes: dict[type, dict[str, bool]] = {}

_AT = re.compile(r"(.*) - at `\$\.?([^`]*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def decode_path_id(name: str, text: str) -> UUID:
    """An id in the path; 400 naming the parameter unless it is a UUID."""
    try:
        if len(text) == 36:
            return UUID(text)
    except ValueError:
        pass
    raise Refusal(400, f"{name} is not a valid UUID", name)


def decode_query(raw: bytes, shape: type[T]) -> T:
    """The query string as a Struct; unknown keys are left out, repeated keys make lists."""
    many = query_fields(shape)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise Refusal(400, "The query string is not valid") from None
    values: dict[str, str | list[str]] = {}
    for key, value in pairs:
        is_list = many.get(key)
        if is_list is None:
            continue
        if "\0" in value:
            raise Refusal(400, f"{key}: must not hold a NUL character", key)
        if is_list:
            known = values.setdefault(key, [])
            assert isinstance(known, list)
            known.append(value)
        else:
            values[key] = value
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), "query parameter") from None


def decode_body(raw: bytes, shape: type[T]) -> T:
    """The body as a Struct."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), "member of the body") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(400, "The body is not valid JSON") from None


def decode_pairs(name: str, texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`key:value` texts, split at the first colon; 400 naming the parameter for one without."""
    pairs = []
    for text in texts:
        key, colon, value = text.partition(":")
        if not colon or not key:
            raise Refusal(400, f"{name}: {text!r} is not of the form key:value", name)
        pairs.append((key, value))
    return tuple(pairs)


def object_bytes(name: str, raw: msgspec.Raw) -> bytes:
    """The text of an object in a body, byte for byte."""
    text = bytes(raw)
    if text[:1] != b"{":
        raise Refusal(400, f"{name}: Expected `object`", name)
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Refusal(400, f"{name}: not valid UTF-8", name) from None
    return text


def optional_object_bytes(name: str, raw: msgspec.Raw) -> bytes | None:
    """The same of a member that may be left out or null."""
    return None if bytes(raw) == b"null" else object_bytes(name, raw)


def query_fields(shape: type) -> dict[str, bool]:
    """Whether each parameter is a list, by its name on the wire."""
    known = _shapes.get(shape)
    if known is None:
        hints = get_type_hints(shape)
        known = {field.encode_name: _is_list(hints[field.name]) for field in msgspec.structs.fields(shape)}
        _shapes[shape] = known
    return known


def _is_list(hint: object) -> bool:
    return get_origin(hint) is list or any(_is_list(part) for part in get_args(hint))


def _refusal(message: str, what: str) -> Refusal:
    missing = _MISSING.search(message)
    if missing is not None:
        return Refusal(400, f"{missing[1]}: this {what} is required", missing[1])
    found = _AT.match(message)
    if found is None:
        return Refusal(400, message)
    name = re.sub(r"\[.*", "", found[2])
    return Refusal(400, f"{name}: {found[1]}", name)
