"""Reading and writing Tink keysets: the little of its protobuf and JSON forms that our three keysets use.

A keyset is a list of keys and the id of the primary one. In JSON a key's material is base64 of a protobuf
message; an encrypted keyset is the protobuf form of the whole keyset, encrypted. Only what is named here is
understood; anything else raises `KeysetError`, whose text never holds key material.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TYPE_PREFIX = "type.googleapis.com/google.crypto.tink."
AES_GCM = _TYPE_PREFIX + "AesGcmKey"
JWT_ECDSA_PRIVATE = _TYPE_PREFIX + "JwtEcdsaPrivateKey"
JWT_ECDSA_PUBLIC = _TYPE_PREFIX + "JwtEcdsaPublicKey"

SYMMETRIC, ASYMMETRIC_PRIVATE, ASYMMETRIC_PUBLIC = 1, 2, 3
ENABLED = 1
PREFIX_TINK, PREFIX_RAW = 1, 3

_MATERIALS = ("UNKNOWN_KEYMATERIAL", "SYMMETRIC", "ASYMMETRIC_PRIVATE", "ASYMMETRIC_PUBLIC", "REMOTE")
_STATUSES = ("UNKNOWN_STATUS", "ENABLED", "DISABLED", "DESTROYED")
_PREFIXES = ("UNKNOWN_PREFIX", "TINK", "LEGACY", "RAW", "CRUNCHY")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class KeysetError(ValueError):
    """A keyset that cannot be understood; the text says why and is safe to show."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it is, its protobuf material, and how what it makes is marked with its id."""

    type_url: str
    value: bytes = field(repr=False)
    material: int
    key_id: int
    status: int = ENABLED
    prefix: int = PREFIX_TINK


@dataclass(frozen=True, slots=True)
class Keyset:
    """Keys, of which the primary makes and all enabled ones verify or decrypt."""

    primary_key_id: int
    keys: tuple[Key, ...]

    def enabled(self, type_url: str) -> tuple[Key, ...]:
        """The usable keys of one type; raises `KeysetError` when there is none."""
        found = tuple(key for key in self.keys if key.status == ENABLED and key.type_url == type_url)
        if not found:
            raise KeysetError(f"it has no enabled key of the type {type_url.removeprefix(_TYPE_PREFIX)}")
        return found

    def primary(self, type_url: str) -> Key:
        """The key that new things are made with."""
        for key in self.enabled(type_url):
            if key.key_id == self.primary_key_id:
                return key
        raise KeysetError("its primary key is missing or not enabled")


def put(number: int, value: int | bytes) -> bytes:
    """One protobuf field; a zero or empty value is left out, as proto3 does."""
    if not value:
        return b""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Message:
    """A decoded protobuf message: values by field number, the last one of a field counts."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _fields(data):
            self._fields.setdefault(number, []).append(value)

    def number(self, field_number: int) -> int:
        """A number, 0 when it is not there."""
        value = self._fields.get(field_number, [0])[-1]
        if not isinstance(value, int):
            raise KeysetError("a field has the wrong type")
        return value

    def data(self, field_number: int) -> bytes:
        """Bytes, empty when they are not there."""
        values = self.repeated(field_number)
        return values[-1] if values else b""

    def repeated(self, field_number: int) -> list[bytes]:
        """Every value of a repeated field."""
        found = []
        for value in self._fields.get(field_number, []):
            if not isinstance(value, bytes):
                raise KeysetError("a field has the wrong type")
            found.append(value)
        return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _read_varint(data, position)
        elif wire_type in {_FIXED32, _FIXED64}:
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise KeysetError("it is not a protobuf message")
        if position + size > len(data):
            raise KeysetError("it is cut short")
        yield number, data[position : position + size]
        position += size


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise KeysetError("it is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise KeysetError("it is not a protobuf message")


def to_binary(keyset: Keyset) -> bytes:
    """The protobuf form of a keyset, which is what gets encrypted."""
    parts = [put(1, keyset.primary_key_id)]
    for key in keyset.keys:
        data = put(1, key.type_url.encode()) + put(2, key.value) + put(3, key.material)
        parts.append(put(2, put(1, data) + put(2, key.status) + put(3, key.key_id) + put(4, key.prefix)))
    return b"".join(parts)


def from_binary(data: bytes) -> Keyset:
    """A keyset out of its protobuf form."""
    message = Message(data)
    keys = []
    for item in message.repeated(2):
        key = Message(item)
        material = Message(key.data(1))
        keys.append(
            Key(
                material.data(1).decode("utf-8", "replace"),
                material.data(2),
                material.number(3),
                key.number(3),
                key.number(2),
                key.number(4),
            )
        )
    return Keyset(message.number(1), tuple(keys))


def to_json(keyset: Keyset) -> str:
    """The cleartext JSON form of a keyset."""
    keys = [
        {
            "keyData": {
                "typeUrl": key.type_url,
                "value": base64.b64encode(key.value).decode(),
                "keyMaterialType": _MATERIALS[key.material],
            },
            "status": _STATUSES[key.status],
            "keyId": key.key_id,
            "outputPrefixType": _PREFIXES[key.prefix],
        }
        for key in keyset.keys
    ]
    return json.dumps({"primaryKeyId": keyset.primary_key_id, "key": keys}, separators=(",", ":"))


def from_json(text: str) -> Keyset:
    """A keyset out of its cleartext JSON form."""
    root = _object(text)
    if "encryptedKeyset" in root or "encrypted_keyset" in root:
        raise KeysetError("it is encrypted, and a cleartext keyset belongs here")
    items = root.get("key")
    if not isinstance(items, list):
        raise KeysetError("it has no keys")
    keys = []
    for item in items:
        data = _either(item, "keyData", "key_data")
        keys.append(
            Key(
                str(_either(data, "typeUrl", "type_url")),
                _base64(_either(data, "value", "value")),
                _enum(_either(data, "keyMaterialType", "key_material_type"), _MATERIALS),
                _key_id(_either(item, "keyId", "key_id")),
                _enum(_either(item, "status", "status"), _STATUSES),
                _enum(_either(item, "outputPrefixType", "output_prefix_type"), _PREFIXES),
            )
        )
    return Keyset(_key_id(_either(root, "primaryKeyId", "primary_key_id")), tuple(keys))


def encrypted_to_json(ciphertext: bytes, keyset: Keyset) -> str:
    """The JSON form of an encrypted keyset, with what may be told of its keys beside it."""
    info = {
        "primaryKeyId": keyset.primary_key_id,
        "keyInfo": [
            {
                "typeUrl": key.type_url,
                "status": _STATUSES[key.status],
                "keyId": key.key_id,
                "outputPrefixType": _PREFIXES[key.prefix],
            }
            for key in keyset.keys
        ],
    }
    sealed = {"encryptedKeyset": base64.b64encode(ciphertext).decode(), "keysetInfo": info}
    return json.dumps(sealed, separators=(",", ":"))


def ciphertext_of(data: bytes) -> bytes:
    """The ciphertext of an encrypted keyset in its JSON or its protobuf form."""
    if not data.lstrip().startswith(b"{"):
        ciphertext = Message(data).data(2)
        if not ciphertext:
            raise KeysetError("it is not an encrypted keyset")
        return ciphertext
    try:
        root = _object(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise KeysetError("it is not a keyset") from None
    if "key" in root:
        raise KeysetError("it is not encrypted, and an encrypted keyset belongs here")
    return _base64(_either(root, "encryptedKeyset", "encrypted_keyset"))


def _object(text: str) -> Mapping[str, Any]:
    try:
        root = json.loads(text)
    except (ValueError, RecursionError):
        raise KeysetError("it is not a keyset in JSON") from None
    if not isinstance(root, dict):
        raise KeysetError("it is not a keyset in JSON")
    return root


def _either(mapping: object, name: str, other: str) -> object:
    if not isinstance(mapping, dict):
        raise KeysetError("it is not a keyset in JSON")
    value = mapping.get(name, mapping.get(other))
    if value is None:
        raise KeysetError(f"it has no {name}")
    found: object = value
    return found


def _base64(value: object) -> bytes:
    return decode_base64(value) if isinstance(value, str) else b""


def decode_base64(text: str) -> bytes:
    """Base64 of either alphabet, with or without padding; raises `KeysetError`."""
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KeysetError("it is not base64") from None


def _enum(value: object, names: tuple[str, ...]) -> int:
    if isinstance(value, int) and 0 <= value < len(names):
        return value
    if isinstance(value, str) and value in names:
        return names.index(value)
    raise KeysetError("it has an unknown word")


def _key_id(value: object) -> int:
    if isinstance(value, int | str) and str(value).isascii() and str(value).isdigit():
        number = int(value)
        if 0 < number < 2**32:
            return number
    raise KeysetError("a key id is not a number")
