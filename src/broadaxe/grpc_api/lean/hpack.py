"""HPACK (RFC 7541): a decoder with the dynamic table, and literals for the encoder, which keeps no table."""

from collections.abc import Sequence

from broadaxe.grpc_api.lean import huffman
from broadaxe.grpc_api.lean.memo import Memo

Field = tuple[str, str]
Texts = Memo[bytes, str]

STATIC: tuple[Field, ...] = (
    ("", ""),  # indexes begin at 1
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
)
_FIRST_DYNAMIC = len(STATIC)
_NEWEST = 0x80 + _FIRST_DYNAMIC
"""The byte that stands for the newest field of the dynamic table."""
_ENTRY_COST = 32
_MAX_INTEGER_BYTES = 4
_SHORTEST_KEPT, _LONGEST_KEPT = 9, 512
"""Coded texts that are kept decoded. What is shorter is decoded as fast, and would mostly be time-outs."""
_MOST_KEPT = 256


class HpackError(Exception):
    """The header block cannot be decoded; the table is lost, and with it the connection."""


class Decoder:
    """The decoding side of one connection. Field names and values are text, a character a byte.

    `table_limit` is the size in bytes that we announced for the dynamic table. A list that refers to the
    same large entry over and over shares its text, so a block bounds the memory of what it stands for.
    """

    def __init__(self, table_limit: int = 4096, texts: Texts | None = None) -> None:
        self._limit = self._table_limit = table_limit
        self._dynamic: list[Field] = []
        self._size = 0
        self._texts: Texts = Memo(_MOST_KEPT) if texts is None else texts
        self.changes = 0
        """How often the table has changed: what a block means depends on it."""

    @property
    def table_size(self) -> int:
        """Bytes in the dynamic table, as HPACK counts them."""
        return self._size

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a header block, in order; raises `HpackError`."""
        fields: list[Field] = []
        dynamic = self._dynamic
        position, end = 0, len(block)
        try:
            while position < end:
                byte = block[position]
                if byte > 0x80:
                    position += 1
                    if byte == 0xFF:
                        index, position = _integer(block, position, 0x7F)
                        byte = 0x80 + index
                    if byte < _NEWEST:
                        fields.append(STATIC[byte - 0x80])
                    elif byte < _NEWEST + len(dynamic):
                        fields.append(dynamic[_NEWEST - 1 - byte])
                    else:
                        raise HpackError("an index beyond the table")
                elif byte & 0xE0 == 0x20:
                    if fields:
                        raise HpackError("a change of the table's size between fields")
                    position = self._resize(block, position)
                elif byte == 0x80:
                    raise HpackError("index 0")
                else:
                    field, position = self._literal(block, position, byte)
                    fields.append(field)
        except IndexError:
            raise HpackError("the header block ends in the middle of a field") from None
        return fields

    def _resize(self, block: bytes, position: int) -> int:
        """Obey a change of the table's size; the position behind it."""
        size = block[position] & 0x1F
        position += 1
        if size == 0x1F:
            size, position = _integer(block, position, size)
        if size > self._table_limit:
            raise HpackError("the dynamic table would be larger than allowed")
        self._limit = size
        self.changes += 1
        self._evict()
        return position

    def _literal(self, block: bytes, position: int, byte: int) -> tuple[Field, int]:
        kept = byte & 0x40
        full = 0x3F if kept else 0x0F
        index = byte & full
        position += 1
        if index == full:
            index, position = _integer(block, position, index)
        if index == 0:
            name, position = self._text(block, position)
        elif index < _FIRST_DYNAMIC:
            name = STATIC[index][0]
        else:
            back = index - _FIRST_DYNAMIC + 1
            if back > len(self._dynamic):
                raise HpackError("an index beyond the table")
            name = self._dynamic[-back][0]
        value, position = self._text(block, position)
        field = (name, value)
        if kept:
            self.changes += 1
            self._dynamic.append(field)
            self._size += len(name) + len(value) + _ENTRY_COST
            if self._size > self._limit:
                self._evict()
        return field, position

    def _evict(self) -> None:
        dynamic = self._dynamic
        gone = 0
        while self._size > self._limit:
            name, value = dynamic[gone]
            self._size -= len(name) + len(value) + _ENTRY_COST
            gone += 1
        del dynamic[:gone]

    def _text(self, block: bytes, position: int) -> tuple[str, int]:
        first = block[position]
        size = first & 0x7F
        position += 1
        if size == 0x7F:
            size, position = _integer(block, position, size)
        end = position + size
        raw = block[position:end]
        if len(raw) < size:
            raise HpackError("a text is longer than its header block")
        if first < 0x80:
            return raw.decode("latin-1"), end
        kept = _SHORTEST_KEPT <= size <= _LONGEST_KEPT
        text = self._texts.get(raw) if kept else None
        if text is None:
            try:
                text = huffman.decode(raw)
            except huffman.HuffmanError as error:
                raise HpackError(str(error)) from None
            if kept:
                self._texts.put(raw, text)
        return text, end


def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full."""
    for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("an integer that is too large")


def list_size(fields: Sequence[Field]) -> int:
    """The size of a list as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + _ENTRY_COST for name, value in fields)


def literal(name: bytes, value: bytes) -> bytes:
    """A field that changes no table, for a header block of ours."""
    return b"\x00" + _sized(name) + _sized(value)


def _sized(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    size -= 0x7F
    prefix = bytearray((0x7F,))
    while size >= 0x80:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + text
