"""A Dockerfile as data: its stages and their instructions."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.chart import ROOT

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


@dataclass
class Instruction:
    """One instruction; `text` is what follows its word."""

    word: str
    text: str

    @property
    def flags(self) -> dict[str, str]:
        """`--name=value` at its beginning."""
        words = shlex.split(self.text) if self.word != "RUN" else []
        found = (word for word in words if word.startswith("--") and "=" in word)
        return dict(word[2:].split("=", 1) for word in found)

    @property
    def exec_form(self) -> list[str] | None:
        """The command as a list; None in shell form."""
        text = self.text[self.text.find("[") :] if "[" in self.text else ""
        try:
            parsed = json.loads(text)
        except ValueError:
            return None
        return [str(word) for word in parsed] if isinstance(parsed, list) else None


@dataclass
class Stage:
    """What one FROM begins."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, word: str) -> list[Instruction]:
        """Its instructions of a kind."""
        return [one for one in self.instructions if one.word == word]


def stages(path: Path = DOCKERFILE) -> dict[str, Stage]:
    """The stages by name, in order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, text = line.strip().partition(" ")
        if word == "FROM":
            base, keyword, name = text.split()
            assert keyword == "AS", line
            current = found[name] = Stage(name, base)
        else:
            assert current is not None, f"{line} is before the first FROM"
            current.instructions.append(Instruction(word, text.strip()))
    return found


def lineage(every: dict[str, Stage], name: str) -> list[Instruction]:
    """All instructions of a stage and of the stages it stands on, the deepest first."""
    stage = every[name]
    below = lineage(every, stage.base) if stage.base in every else []
    return [*below, *stage.instructions]


def variables(instructions: list[Instruction]) -> dict[str, str]:
    """What ENV sets."""
    return dict(
        pair.split("=", 1) for one in instructions if one.word == "ENV" for pair in shlex.split(one.text)
    )
