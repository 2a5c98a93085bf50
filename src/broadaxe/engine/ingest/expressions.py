"""Whether a CEL expression compiles. Nothing is evaluated here."""

import hashlib

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

_OBJECTS = ("input", "additional_metadata", "payload", "output", "parents", "headers")
_TEXTS = ("workflow_run_id", "event_id", "event_key")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _environment() -> cel.Env:
    text = cel.Type.STRING
    overload = cel.Overload("checksum_string", text, [text], impl=_checksum)
    own = cel.CelExtension("broadaxe", [cel.FunctionDecl("checksum", [overload])])
    variables = dict.fromkeys(_TEXTS, text) | dict.fromkeys(_OBJECTS, cel.Type.Map(text, cel.Type.DYN))
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), own])


class Expressions:
    """Compiles expressions against what triggers, events and conditions offer."""

    def __init__(self) -> None:
        self._env: cel.Env | None = None

    def problem(self, kind: str, text: str) -> str | None:
        """Why an expression does not compile, None when it does."""
        if self._env is None:
            self._env = _environment()
        try:
            self._env.compile(text)
        except RuntimeError as error:
            first = str(error).split("\n", 1)[0]
            return (
                first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ") or f"bad {kind} expression"
            )
        return None
