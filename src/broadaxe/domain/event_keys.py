"""Which declared keys an event's key matches: `*` stands for any run of characters, all else for itself."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

ANY = "*"
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A declared key with wildcards, cut at them."""

    first: str
    """What a matching key begins with."""
    middle: tuple[str, ...]
    """What follows in this order, anywhere, without overlap."""
    last: str
    """What it ends with."""

    @classmethod
    def parse(cls, text: str) -> "KeyPattern | None":
        """None for a key without a wildcard."""
        parts = text.split(ANY)
        if len(parts) == 1:
            return None
        return cls(parts[0], tuple(part for part in parts[1:-1] if part), parts[-1])

    def matches(self, key: str) -> bool:
        """Whether the key matches. Takes time in proportion to its length, whatever the pattern."""
        at, end = len(self.first), len(key) - len(self.last)
        if at > end or not key.startswith(self.first) or not key.endswith(self.last):
            return False
        for part in self.middle:
            # The leftmost place leaves the most room for the rest.
            found = key.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


class KeyIndex(Generic[T]):
    """Who asked for which keys: looked up by the whole key, and by what patterns begin with."""

    def __init__(self, declared: Iterable[tuple[str, T]] = ()) -> None:
        self._whole: defaultdict[str, list[T]] = defaultdict(list)
        self._patterns: defaultdict[str, list[tuple[KeyPattern, T]]] = defaultdict(list)
        for text, who in declared:
            pattern = KeyPattern.parse(text)
            if pattern is None:
                self._whole[text].append(who)
            else:
                self._patterns[pattern.first].append((pattern, who))
        self._lengths = sorted({len(first) for first in self._patterns})

    def find(self, key: str) -> list[T]:
        """Everybody whose key or pattern matches, each once, in the order in which they were declared within
        each kind."""
        found = dict.fromkeys(self._whole.get(key, ()))
        for length in self._lengths:
            if length > len(key):
                break
            for pattern, who in self._patterns.get(key[:length], ()):
                if who not in found and pattern.matches(key):
                    found[who] = None
        return list(found)
