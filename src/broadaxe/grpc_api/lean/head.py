"""From a decoded header list to the head of a gRPC request, by the rules of RFC 9113 and gRPC."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broadaxe.grpc_api.call import Code
from broadaxe.grpc_api.lean.hpack import Decoder, Field, list_size
from broadaxe.grpc_api.lean.memo import Memo

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_BAD_VALUE = re.compile(r"[\x00\r\n]").search
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_HTTP1_ONLY = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})
_OF_THE_TRANSPORT = frozenset(
    {"te", "content-type", "grpc-encoding", "grpc-accept-encoding", "content-length"}
)
_TIMEOUT_FIELD = "grpc-timeout"
_MOST_DIGITS = 8

GZIP, DEFLATE = 31, 15
INFLATABLE: Mapping[str, int] = {"gzip": GZIP, "deflate": DEFLATE}
"""Encodings of requests beside `identity`, and what zlib calls them."""
ACCEPTED = "identity, deflate, gzip"

_NOT_GRPC = b"This port speaks gRPC.\n"

_MOST_BLOCKS = 32
_MOST_HEADS = 64
_LARGEST_KEPT = 2048
_LONGEST_BLOCK = 256
_TOO_LARGE = "the metadata is larger than {} bytes"


class Malformed(Exception):
    """The list breaks a rule of HTTP/2: an error of the stream."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    path: str
    metadata: Mapping[str, str | bytes]
    """The first value of each key; bytes where the key ends in `-bin`. Without what is the transport's."""
    encoding: int = 0
    """How a compressed request is to be inflated: zlib's window bits; 0 when it must not be compressed."""
    takes_gzip: bool = False
    """The client understands replies in gzip."""
    length: int | None = None
    """`content-length`."""
    http_status: int = 0
    """Not 0: this is no gRPC call, answer with this status of HTTP."""
    http_text: bytes = b""
    """... and this text."""
    refusal: tuple[Code, str] | None = None
    """Not None: a gRPC call that has to be refused so."""
    simple: bool = field(init=False)
    """A gRPC call whose body is bound by nothing but its own prefix."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "simple", not self.http_status and self.refusal is None and self.length is None
        )


Heads = Memo[tuple[Field, ...], Head]


class HeadReader:
    """Reads the header blocks of one connection.

    Requests of one client are alike, so heads are kept: by the block itself as long as it only refers to
    the table, and by the list of fields without the time-out, which often differs in each call. The latter
    may be shared with other connections.
    """

    def __init__(self, decoder: Decoder, limit: int, heads: Heads | None = None) -> None:
        self._decoder = decoder
        self._limit = limit
        self._blocks: dict[bytes, tuple[Head, float | None]] = {}
        self._valid_for = decoder.changes
        self._heads: Heads = Memo(_MOST_HEADS) if heads is None else heads
        self._timeout_at = 0
        self._last_fields: list[Field] | None = None
        self._last = Head("", {})

    def read(self, block: bytes) -> tuple[Head, float | None]:
        """The head and the time-out in seconds; raises `HpackError` or `Malformed`."""
        decoder, blocks = self._decoder, self._blocks
        changes = decoder.changes
        if blocks:
            if self._valid_for != changes:
                # What was put into the table since moved what the kept ones refer to.
                blocks.clear()
            elif (known := blocks.get(block)) is not None:
                return known
        read = self._head(decoder.decode(block))
        if decoder.changes == changes and len(blocks) < _MOST_BLOCKS and len(block) < _LONGEST_BLOCK:
            self._valid_for = changes
            blocks[block] = read
        return read

    def skip(self, block: bytes) -> list[Field]:
        """Decode a block whose meaning does not matter, for the table's sake; raises `HpackError`."""
        return self._decoder.decode(block)

    def _head(self, fields: list[Field]) -> tuple[Head, float | None]:
        timeout: float | None = None
        at = self._timeout_at
        if at >= len(fields) or fields[at][0] != _TIMEOUT_FIELD:
            # Not where the last one was.
            at = next((at for at, (name, _) in enumerate(fields) if name == _TIMEOUT_FIELD), -1)
        if at >= 0:
            value = fields[at][1]
            digits, unit = value[:-1], _UNITS.get(value[-1:])
            if unit is None or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
                return Head("", {}, refusal=(Code.INTERNAL, "malformed grpc-timeout")), None
            timeout = int(digits) * unit
            self._timeout_at = at
            del fields[at]
        # Most of the fields are then the same objects of the table, and quickly compared.
        head = self._last if fields == self._last_fields else self._looked_up(fields)
        return head, timeout

    def _looked_up(self, fields: list[Field]) -> Head:
        key = tuple(fields)
        head = self._heads.get(key)
        if head is None:
            size = list_size(fields)
            if size > self._limit:
                return Head("", {}, refusal=(Code.RESOURCE_EXHAUSTED, _TOO_LARGE.format(self._limit)))
            head = read_head(fields)
            if size > _LARGEST_KEPT:
                return head
            self._heads.put(key, head)
        self._last_fields, self._last = fields, head
        return head


def read_head(fields: Sequence[Field]) -> Head:
    """The head that a list without time-out describes; raises `Malformed`."""
    pseudo, regular = _split(fields)
    length = _length(regular)
    if ":method" not in pseudo or ":scheme" not in pseudo or not pseudo.get(":path"):
        raise Malformed("a pseudo-header field is missing")
    if pseudo[":method"] != "POST":
        text = b"" if pseudo[":method"] == "HEAD" else _NOT_GRPC
        return Head(pseudo[":path"], {}, length=length, http_status=405, http_text=text)
    first: dict[str, str] = {}
    for name, value in regular:
        first.setdefault(name, value)
    kind = first.get("content-type", "")
    if not kind.startswith("application/grpc") or kind[16:17] not in ("", "+", ";"):
        return Head(pseudo[":path"], {}, length=length, http_status=415, http_text=_NOT_GRPC)
    refusal: tuple[Code, str] | None = None
    encoding = first.get("grpc-encoding", "identity")
    if encoding != "identity" and encoding not in INFLATABLE:
        refusal = (Code.UNIMPLEMENTED, f"grpc-encoding {encoding} is not supported")
    metadata: dict[str, str | bytes] = {}
    try:
        for name, value in first.items():
            if name not in _OF_THE_TRANSPORT:
                metadata[name] = _binary(value) if name.endswith("-bin") else value
    except binascii.Error:
        refusal = (Code.INTERNAL, "malformed binary metadata")
    return Head(
        pseudo[":path"],
        metadata,
        INFLATABLE.get(encoding, 0),
        "gzip" in first.get("grpc-accept-encoding", ""),
        length,
        refusal=refusal,
    )


def check_trailers(fields: Sequence[Field]) -> None:
    """Raises `Malformed` for a client's trailers that carry what only a head may."""
    pseudo, _ = _split(fields)
    if pseudo:
        raise Malformed("a pseudo-header field in trailers")


def _split(fields: Sequence[Field]) -> tuple[dict[str, str], list[Field]]:
    """The pseudo-header fields and the others, each checked by itself."""
    pseudo: dict[str, str] = {}
    regular: list[Field] = []
    for name, value in fields:
        if _BAD_VALUE(value):
            raise Malformed("a control character in a value")
        if name.startswith(":"):
            if regular or name in pseudo or name not in _PSEUDO:
                raise Malformed("a pseudo-header field out of place")
            pseudo[name] = value
            continue
        if not _NAME(name) or name in _HTTP1_ONLY or (name == "te" and value.lower() != "trailers"):
            raise Malformed("a field that HTTP/2 does not have")
        # gRPC lets white space around a value pass, which HTTP/2 does not have at all.
        regular.append((name, value.strip(" \t")))
    return pseudo, regular


def _length(regular: Sequence[Field]) -> int | None:
    values = {value for name, value in regular if name == "content-length"}
    if not values:
        return None
    (value,) = values if len(values) == 1 else ("",)
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise Malformed("a wrong content-length")
    return int(value)


def _binary(value: str) -> bytes:
    """The first of the comma-separated values, whose padding may be missing."""
    text = value.partition(",")[0].strip()
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
