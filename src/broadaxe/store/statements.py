"""Statements by name, read from `sql/*.sql`: a header names each, its operation, table and purpose."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from broadaxe.telemetry import names as T
from broadaxe.telemetry.vocabulary import SpanName

_HEADER: Final = re.compile(r"^-- (?:name: (\w+) \((\w+) (\w+)\): (.+)|fragment: (\w+))$", re.MULTILINE)
_FRAGMENT: Final = re.compile(r"\{(\w+)\}")

_WRITES = frozenset(("INSERT", "UPDATE", "DELETE"))


@dataclass(frozen=True, slots=True)
class Statement:
    """One parametrised statement and what telemetry calls it."""

    name: str
    operation: str
    target: str
    purpose: str
    text: str
    span: SpanName
    silent: bool = False
    """It writes and gives no rows back: the server then says how many it wrote."""


def _is_silent(text: str) -> bool:
    return text.split(None, 1)[0].upper() in _WRITES and "RETURNING" not in text.upper()


def _sections(text: str) -> Iterator[tuple[re.Match[str], str]]:
    headers = list(_HEADER.finditer(text))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        yield header, text[header.end() : following.start() if following else None].strip()


@cache
def load_statements() -> Mapping[str, Statement]:
    """All statements of the room; a duplicate name or an unknown fragment is a `ValueError`."""
    found: dict[str, Statement] = {}
    for file in sorted(files("broadaxe.store").joinpath("sql").iterdir(), key=lambda entry: entry.name):
        fragments: dict[str, str] = {}
        for header, body in _sections(file.read_text("utf-8")):
            name, operation, target, purpose, fragment = header.groups()
            if fragment:
                fragments[fragment] = body
                continue
            text = body
            for known, columns in fragments.items():
                text = text.replace("{" + known + "}", columns)
            if name in found or _FRAGMENT.search(text):
                raise ValueError(f"{file.name}: {name} is there twice or uses an unknown fragment")
            found[name] = Statement(
                name, operation, target, purpose, text, T.db_span(operation, target), _is_silent(text)
            )
    return found


def statement(name: str) -> Statement:
    """The statement of this name; `KeyError` for an unknown one."""
    return load_statements()[name]
