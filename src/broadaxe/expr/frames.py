"""What is said between the engine and its helper process: a length, then a JSON text."""

import json
import struct
from base64 import b64decode, b64encode
from typing import Final

from broadaxe.expr.variables import Variables

HEAD: Final = struct.Struct("<I")


def frame(message: object) -> bytes:
    """A message with its length before it."""
    body = json.dumps(message).encode()
    return HEAD.pack(len(body)) + body


def pack(text: str, variables: Variables) -> bytes:
    """A question."""
    texts = {name: value for name, value in variables.items() if isinstance(value, str)}
    objects = {
        name: b64encode(value).decode() for name, value in variables.items() if isinstance(value, bytes)
    }
    return frame({"expression": text, "texts": texts, "objects": objects})


def unpack(body: bytes) -> tuple[str, dict[str, bytes | str]]:
    """A question again."""
    message = json.loads(body)
    variables: dict[str, bytes | str] = dict(message["texts"])
    variables.update((name, b64decode(value)) for name, value in message["objects"].items())
    return message["expression"], variables
