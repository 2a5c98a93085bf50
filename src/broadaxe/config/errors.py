"""The error of bad settings: one line a problem, and no secret in any of them."""

from dataclasses import dataclass

REDACTED = "***"
_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot stand: its name, where it was given, and a sentence that says what is wrong."""

    name: str
    origin: str
    message: str

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.name}{where}: {self.message}"


class SettingsError(Exception):
    """Settings that a process cannot start with; `str()` is one line for each problem."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    @classmethod
    def single(cls, name: str, message: str, origin: str = "") -> "SettingsError":
        """An error of one problem."""
        return cls((Problem(name, origin, message),))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each problem."""
        return tuple(str(problem) for problem in self.problems)


def shown(value: str, *, secret: bool) -> str:
    """A value as an error may show it: on one line, shortened, and never a secret."""
    if secret:
        return REDACTED
    if len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "..."
    return '"' + value.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
