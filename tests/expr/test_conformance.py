"""Our expressions against cel-go, which Hatchet uses: its conformance cases, and cases over inputs."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broadaxe.expr.compiled import Cel
from broadaxe.expr.failures import ExpressionFailed
from tests.judges import NotHere, find

MODULE = Path(__file__).parent / "cel_go"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

DIFFERENCES = {
    "comparisons/g": "an expression holds no U+0000",
    "comparisons/lte_literal/": "an expression holds no U+0000",
    "fields/qualified_identifier_resolution/map_value_repeat_key": "a key twice in a map literal is refused",
    "string_ext/value_errors/": "indexOf and lastIndexOf refuse a start behind the end",
    "timestamps/duration_conversions/": "durations may be longer than 292 years",
    "timestamps/timestamp_arithmetic/": "durations may be longer than 292 years",
    "type_deductions/empty_range_nested_comprehensions/": "a loop over items of an empty literal is refused",
    "wrappers/duration/": "durations and times out of their range are refused when they are made",
    "wrappers/timestamp/": "durations and times out of their range are refused when they are made",
}
"""Where cases differ, by the beginning of their names; docs/compatibility.md says the same."""

INPUT = {"x": "a", "n": 3, "f": 2.5, "big": 12345678901234567890, "l": [1, 2, 3], "o": {"k": [None, True]}}
OURS = [
    "input.x == 'a' && size(input.l) > 0",
    "has(input.x) && !has(input.zzz)",
    "input.n == 3",
    "input.n / 2",
    "input.n / 2.0",
    "input.n + 1",
    "input.big",
    "input.f > 2",
    "input.l",
    "input.l.map(i, i * 2.0)[2]",
    "input.l.filter(i, i > 1).size()",
    "input.l.exists_one(i, i == 2)",
    "input.o",
    "'k' in input.o",
    "input.o.k[0] == null",
    "input.o.k[5]",
    "input.missing",
    "input.missing == 1 || input.x == 'a'",
    "string(input.n) + '-' + input.x",
    "string(input.f)",
    "int(input.f)",
    "input.x in ['a', 'b']",
    "input.n in [1, 2, 3]",
    "additional_metadata.env == 'prod' ? 'y' : 'n'",
    "payload.id == 7 && event_key.startsWith('user:')",
    "'%s-%d'.format([input.x, 3])",
    "event_key.split(':')[1].upperAscii()",
    "checksum(input.x)",
    "workflow_run_id.substring(0, 3)",
    "event_id == ''",
    "input.x.matches('^[a-c]$')",
    "timestamp('2026-01-01T00:00:00Z').getFullYear('Europe/Berlin')",
    "input == {'x': 'a'}",
    "parents",
    "type(input.n) == double",
    "input.x > 1",
    "{input.x: input.n}",
]
QUESTION: dict[str, dict[str, Any]] = {
    "data": {"input": INPUT, "additional_metadata": {"env": "prod"}, "payload": {"id": 7}},
    "text": {"event_key": "user:created", "workflow_run_id": "run-1"},
}


def canonical(value: Any) -> str:
    """A text that is equal exactly if two values are; the Go program's other half."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, int):
        return f"int {value}"
    if isinstance(value, float):
        return f"double {value:.12e}"
    if isinstance(value, str):
        return f"text {value.encode().hex()}"
    if isinstance(value, bytes | bytearray):
        return f"bytes {value.hex()}"
    if isinstance(value, datetime):
        return f"timestamp {(value - EPOCH) // MICROSECOND}"
    if isinstance(value, timedelta):
        return f"duration {value // MICROSECOND}"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{canonical(k)}: {canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(canonical, value)) + "]"
    return f"other {type(value).__name__.lower()}"


def outcome(cel: Cel, expression: str, variables: dict[str, bytes | str]) -> str:
    """The value, or that it fails: the words of errors may differ."""
    try:
        return canonical(cel.evaluate(expression, variables))
    except ExpressionFailed:
        return "error"


@pytest.fixture(scope="module")
def answers() -> list[dict[str, str]]:
    """What cel-go says."""
    try:
        program = find("celgo", build=True)
    except NotHere as reason:
        pytest.skip(str(reason))
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not here, which knows where the conformance cases are")
    listed = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "cel.dev/expr"],
        cwd=MODULE,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0 or not listed.stdout.strip():
        pytest.skip("the module with the conformance cases is not here")
    cases = Path(listed.stdout.strip()) / "tests" / "simple" / "testdata"
    asked = json.dumps([{"expr": text, **QUESTION} for text in OURS])
    ran = subprocess.run([program, cases], input=asked, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def conformance(answers: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """The cases of the module."""
    yield from (answer for answer in answers if answer["where"] != "given")


def test_conformance_cases_give_what_cel_go_gives(answers: list[dict[str, str]]) -> None:
    cel = Cel()
    different = {}
    count = 0
    for answer in conformance(answers):
        count += 1
        ours = outcome(cel, answer["expr"], {})
        if ours != answer.get("value", "error"):
            different[answer["where"]] = f"{answer['expr']}: {ours}, not {answer.get('value', 'error')}"
    assert count > 1_900
    unknown = {where: text for where, text in different.items() if not where.startswith(tuple(DIFFERENCES))}
    assert not unknown
    assert len(different) == 35
    assert all(any(where.startswith(known) for where in different) for known in DIFFERENCES)


def test_inputs_give_what_cel_go_gives(answers: list[dict[str, str]]) -> None:
    given = [answer for answer in answers if answer["where"] == "given"]
    assert [answer["expr"] for answer in given] == OURS
    cel = Cel()
    variables: dict[str, bytes | str] = {
        name: json.dumps(value).encode() for name, value in QUESTION["data"].items()
    }
    variables.update(QUESTION["text"])
    different = {
        answer["expr"]: (ours, answer.get("value", answer.get("error")))
        for answer in given
        if (ours := outcome(cel, answer["expr"], variables)) != answer.get("value", "error")
    }
    assert not different
