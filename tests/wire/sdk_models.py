"""Inputs of the SDK tests' workflows, and the figures that workflows and tests agree on."""

from collections.abc import Collection
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

FAILURE = "It broke: naïve café 💥 日本\nsecond line: with a colon"
RETRY_AFTER = 0.7
EXECUTION_TIMEOUT = 4.0
"""Seconds: a task that refreshes it must come to that in time, on any machine."""


class Text(BaseModel):
    text: str = ""


class Failures(BaseModel):
    failures: int = 0


class Count(BaseModel):
    count: int = 0


class Gate(BaseModel):
    gate: str = ""


class Labels(BaseModel):
    labels: dict[str, str | int] = {}


@dataclass
class Point:
    x: int
    y: float
    label: str | None = None


class Big(BaseModel):
    filler: str = ""
    answer: int = 0


def declared(names: dict[str, Any], without: Collection[Any] = ()) -> SimpleNamespace:
    """The workflows among a function's local names."""
    flows = {name: one for name, one in names.items() if hasattr(one, "to_proto")}
    return SimpleNamespace(**{name: one for name, one in flows.items() if one not in without})
