"""What the doctor finds."""

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works; somebody should know."""
    PROBLEM = "problem"
    """Something does not work, or will not for long."""
    SETTING = "setting"
    """A setting that a server would refuse to start with."""


class Area(enum.Enum):
    """What can be looked at."""

    SETTINGS = "settings"
    DATABASE = "database"
    PORTS = "ports"
    CERTIFICATES = "certificates"
    COLLECTOR = "collector"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one thing."""

    area: str
    """An `Area`, or clock, which is looked at with the database."""
    name: str
    """The thing, for programs."""
    level: Level
    text: str


def exit_code(findings: list[Finding]) -> int:
    """0 healthy (warnings too), 1 something does not work, 2 a setting is wrong."""
    levels = {finding.level for finding in findings}
    if Level.SETTING in levels:
        return 2
    return int(Level.PROBLEM in levels)
