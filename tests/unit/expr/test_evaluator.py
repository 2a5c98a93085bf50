"""What is evaluated in place, what in the helper process, and how that is bounded."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from broadaxe.expr.compiled import Cel, ExpressionLimits
from broadaxe.expr.cost import is_short, loops
from broadaxe.expr.evaluator import Evaluator
from broadaxe.expr.failures import ExpressionFailed

LARGE = json.dumps({"l": [1] * 100_000, "s": "x" * 60_000}).encode()


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    one = Evaluator()
    yield one
    await one.close()


@pytest.mark.parametrize(
    ("text", "power"),
    [
        ("input.a == 'b'", 0),
        ("input.l.exists(x, x > 1)", 1),
        ("input.l.map (x, x).filter(y, true)", 4),
        ("input.s.replace('a', 'b')", 1),
        ("input.remap == input.filters", 0),
    ],
)
def test_the_power_of_an_expression(text: str, power: int) -> None:
    assert loops(text) == power


def test_what_may_take_long_is_not_short() -> None:
    assert is_short("input.a == 1", 65_536)
    assert is_short("input.l.exists(x, x > 1)", 65_536)
    assert is_short("input.l.map(x, x)", 300)
    assert not is_short("input.l.map(x, x)", 10_000)
    assert not is_short("input.l.all(a, input.l.all(b, true))", 10_000)
    assert not is_short("x.map(a, b)" * 10_000, 2)


async def test_small_work_needs_no_process(evaluator: Evaluator) -> None:
    assert await evaluator.boolean("input.a == 1", {"input": b'{"a":1}'})
    assert evaluator._apart._process is None


async def test_large_inputs_are_evaluated_apart_with_the_same_answer(evaluator: Evaluator) -> None:
    assert await evaluator.value("input.l.size()", {"input": LARGE}) == 100_000
    first = evaluator._apart._process
    assert first is not None
    assert (
        await evaluator.text("input.s.substring(0, 2) + event_key", {"input": LARGE, "event_key": "k"})
        == "xxk"
    )
    assert evaluator._apart._process is first
    with pytest.raises(ExpressionFailed, match='Key not found in map : "zz"'):
        await evaluator.value("input.zz", {"input": LARGE})


async def test_what_takes_too_long_is_killed_and_the_next_is_answered(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed, match="took longer than 100 ms"):
        await evaluator.value("input.l.map(x, x).map(x, x).size()", {"input": LARGE})
    with pytest.raises(ExpressionFailed, match="took longer than 100 ms, or too much memory"):
        await evaluator.value("input.s.replace('', input.s).replace('', input.s)", {"input": LARGE})
    assert await evaluator.value("input.l.size()", {"input": LARGE}) == 100_000


async def test_a_caller_that_goes_away_leaves_no_half_answer(evaluator: Evaluator) -> None:
    asked = asyncio.create_task(evaluator.value("input.l.size()", {"input": LARGE}))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await evaluator.value("input.s.size()", {"input": LARGE}) == 60_000


async def test_the_line_for_the_process_is_bounded() -> None:
    evaluator = Evaluator(Cel(ExpressionLimits(waiting=2)))
    try:
        answers = await asyncio.gather(
            *(evaluator.value("input.l.size()", {"input": LARGE}) for _ in range(3)), return_exceptions=True
        )
    finally:
        await evaluator.close()
    assert answers[:2] == [100_000, 100_000]
    assert "too many" in str(answers[2])


@pytest.mark.parametrize(
    "text", ["input.a", "null", "[1]", "{'a': 1}", "1.5", "timestamp('2026-01-01T00:00:00Z')"]
)
async def test_another_type_than_is_needed_is_refused(evaluator: Evaluator, text: str) -> None:
    with pytest.raises(ExpressionFailed, match="must yield true or false, not "):
        await evaluator.boolean(text, {"input": b'{"a":"x"}'})


async def test_a_value_that_cannot_leave_the_process_is_refused(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed, match="yields a datetime"):
        await evaluator.value("timestamp('2026-01-01T00:00:00Z')", {"input": LARGE})
