"""The documentation as data: its pages and their code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name that its first line gives it: such a block is a file that the page's commands use."""
        found = _FILE.match(self.text)
        return found[1] if found and self.language != "sh" else None


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order."""
    text = page.read_text("utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(page, line, match[2], dedent(match[3]))


def inline_commands(page: Path) -> Iterator[str]:
    """What stands as `broadaxe ...` in the middle of a sentence or a table."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    for found in re.findall(r"`(broadaxe [^`]+)`", text):
        yield " ".join(found.split())
