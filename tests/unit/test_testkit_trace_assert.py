"""The judge of traces."""

from dataclasses import replace

import pytest

from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.trace_assert import Forest, Rules, assert_whole

MS = 1_000_000


def span(name: str, parent: str = "", start: int = 0, end: int = 10, **changes: object) -> ReceivedSpan:
    """A span of service `server` whose id is its name; times in milliseconds."""
    made = ReceivedSpan(
        service="server",
        name=name,
        kind="INTERNAL",
        trace_id="t1",
        span_id=name,
        parent_id=parent,
        start_ns=start * MS,
        end_ns=end * MS,
        attributes={},
        links=(),
        events=(),
        error=False,
        message="",
        resource={},
        scope="",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


ROOT = span("root", end=100)


def test_forest_whole_trace_has_no_problem() -> None:
    child = span("child", "root", 10, 20)
    forest = assert_whole([ROOT, child, span("leaf", "child", 12, 15, links=(("t1", "root"),))])
    assert forest.path(forest.spans[2]) == ("root", "child", "leaf")
    assert forest.children(ROOT) == [child]


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([ROOT, span("second")], "trace t1 has 2 roots: root, second"),
        (
            [ROOT, span("lost", "gone")],
            "lost [server lost] in trace t1 is an orphan: parent gone is not here",
        ),
        ([span("lost", "gone")], "trace t1 has 0 roots: none"),
        ([ROOT, span("late", "root", 101, 110)], "starts 1.000 ms after its parent root ended"),
        ([span("a", start=5), span("b", "a", 2)], "starts 3.000 ms before its parent a"),
        ([span("a", start=5, end=3)], "ends 2000000 ns before it starts"),
        ([span("a", end=61_000)], "took 61000.0 ms, more than 60000.0"),
        ([span("a", links=(("t9", "s9"),))], "links to t9/s9, which is not here"),
        ([ROOT, ROOT], "span id root (root) was sent 2 times"),
        ([ROOT, span("other", span_id="root")], "span id root (other, root) was sent 2 times"),
    ],
)
def test_forest_broken_rule_is_told(spans: list[ReceivedSpan], words: str) -> None:
    assert any(words in problem for problem in Forest(spans).problems())


@pytest.mark.parametrize(
    ("spans", "rules"),
    [
        ([ROOT, span("late", "root", 101, 110)], Rules(may_start_late=frozenset({"late"}))),
        ([ROOT, span("late", "root", 101, 110, links=(("t1", "root"),))], Rules()),
        ([ROOT, ROOT], Rules(repeated=True)),
        ([span("a", "caller"), span("b", "a")], Rules(outside=frozenset({"caller"}))),
        ([ROOT, span("far", "gone", service="else")], Rules(services=frozenset({"server"}))),
        ([span("a", end=61_000)], Rules(longest_by_name={"a": 70_000 * MS})),
        ([ROOT, span("skewed", "root", -1, 5, service="worker")], Rules()),
        ([ROOT, span("long", "root", 1, 500)], Rules()),
    ],
)
def test_forest_allowed_exception_is_no_problem(spans: list[ReceivedSpan], rules: Rules) -> None:
    assert Forest(spans).problems(rules) == []


def test_forest_child_that_outlives_its_parent_is_told_when_asked() -> None:
    rules = Rules(may_outlive=frozenset({"fine"}))
    spans = [ROOT, span("fine", "root", 1, 500), span("long", "root", 1, 500)]
    assert [problem.split(" ", 1)[0] for problem in Forest(spans).problems(rules)] == ["long"]


def test_assert_whole_failure_shows_the_trace() -> None:
    with pytest.raises(AssertionError) as failure:
        assert_whole([ROOT, span("lost", "gone")])
    text = str(failure.value)
    assert "orphan" in text
    assert "root" in text.splitlines()[-1] + text
    assert "100" in text
