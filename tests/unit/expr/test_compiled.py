"""Compiling, evaluating in place, and what a person is told when it fails."""

import hashlib
import json

import pytest

from broadaxe.expr.compiled import Cel, ExpressionLimits
from broadaxe.expr.failures import ExpressionFailed

INPUT = json.dumps(
    {
        "x": "a",
        "n": 3,
        "f": 2.5,
        "list": [1, 2, 3],
        "empty": [],
        "o": {"k": "v"},
        "name": "Foo-Bar",
        "b": True,
        "none": None,
    }
).encode()
VARIABLES: dict[str, bytes | str] = {
    "input": INPUT,
    "additional_metadata": b'{"env":"prod"}',
    "payload": b'{"id":7}',
    "workflow_run_id": "run-1",
    "event_key": "user:created",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.x == 'a' && size(input.list) > 0", True),
        ("has(input.x) && !has(input.zzz)", True),
        ("input.n == 3", True),
        ("input.n >= 2.5", True),
        ("input.none == null", True),
        ("input.name.lowerAscii().split('-')[1]", "bar"),
        ("'%s-%d'.format([input.x, 3])", "a-3"),
        ("input.list.exists(i, i == 2) && input.list.all(i, i > 0)", True),
        ("input.list.filter(i, i > 1).size()", 2),
        ("input.b ? 'y' : 'n'", "y"),
        ("string(input.n) + '-' + input.x", "3-a"),
        ("additional_metadata.env == 'prod' || input.nope == 1", True),
        ("checksum(input.x)", hashlib.sha256(b"a").hexdigest()),
        ("payload.id == 7 && event_key == 'user:created' && workflow_run_id.startsWith('run')", True),
        ("input.o", {"k": "v"}),
        ("int(input.f)", 2),
    ],
)
def test_values(text: str, value: object) -> None:
    assert Cel().evaluate(text, VARIABLES) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input.missing", 'Key not found in map : "missing"'),
        ("input.n / 2", "No matching overloads"),
        ("1 +", "Syntax error"),
        ("nope", "undeclared reference to 'nope'"),
        ("event_id", 'No value with name "event_id"'),
        ("1 / 0", "divide by zero"),
        ("'a' == '\x00'", "U+0000"),
        ("(" * 40 + "1" + ")" * 40, "recursion"),
        ("[" * 40 + "]" * 40, "recursion"),
    ],
)
def test_what_fails_says_why(text: str, words: str) -> None:
    with pytest.raises(ExpressionFailed, match=words.replace("+", r"\+")):
        Cel().evaluate(text, VARIABLES)


def test_inputs_that_are_not_json_are_named() -> None:
    with pytest.raises(ExpressionFailed, match="input is not a JSON text"):
        Cel().evaluate("true", {"input": b"{"})
    with pytest.raises(ExpressionFailed, match="payload is nested too deeply"):
        Cel().evaluate("true", {"payload": b"[" * 100_000 + b"]" * 100_000})
    with pytest.raises(ExpressionFailed, match="input"):
        Cel().evaluate("input.a == 1", {"input": b"[1]"})


def test_half_a_surrogate_pair_becomes_a_replacement() -> None:
    cel = Cel()
    assert cel.evaluate("input.a", {"input": rb'{"a":"\ud800"}'}) == "\N{REPLACEMENT CHARACTER}"
    assert cel.evaluate("input.a", {"input": rb'{"a":"\ud83d\ude00"}'}) == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("filter", "input.a == payload.b && event_key == 'k'", None),
        ("filter", "input.a", None),
        ("filter", "'a'", "must yield true or false, not string"),
        ("filter", "output.a", "undeclared reference to 'output.a'"),
        ("idempotency", "input.id + additional_metadata.x", None),
        ("idempotency", "input.id == 1", "must yield a text, not bool"),
        ("concurrency", "parents.first.x", None),
        ("concurrency_limit", "input.limit", None),
        ("parent_condition", "output.random_number > 50", None),
        ("event_condition", "input.a == 'b'", None),
        ("rate_limit_units", "'1'", "must yield a number, not string"),
        ("no_such_kind", "true", "there is no kind of expression called no_such_kind"),
        ("filter", "'" + "a" * 20_000 + "' == ''", "longer than 16384 bytes"),
    ],
)
def test_compile_problems(kind: str, text: str, problem: str | None) -> None:
    found = Cel().compile_problem(kind, text)
    assert found is None if problem is None else problem in (found or "")


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cel = Cel(ExpressionLimits(cached=2))
    for text in ("1", "2", "1", "3"):
        cel.evaluate(text, {})
    assert list(cel._programs) == ["1", "3"]


def test_what_does_not_compile_is_compiled_once() -> None:
    cel = Cel()
    for _ in range(2):
        with pytest.raises(ExpressionFailed, match="Syntax error"):
            cel.evaluate("1 +", {})
    assert list(cel._programs) == ["1 +"]
