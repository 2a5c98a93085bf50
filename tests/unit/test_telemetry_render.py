import io

from rich.console import Console

from broadaxe.telemetry.conformance import span_violations, trace_violations
from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.telemetry.render import format_duration, render_trace
from broadaxe.telemetry.trace_tree import TraceTree, group_by_trace


def span(
    name: str, span_id: str, parent: str = "", *, trace: str = "t1", at: int = 0, took: int = 10, **more
) -> ReceivedSpan:
    given = {
        "service": "engine",
        "kind": "INTERNAL",
        "attributes": {},
        "links": (),
        "events": (),
        "error": False,
        "message": "",
        "resource": {},
        "scope": "broadaxe",
        **more,
    }
    return ReceivedSpan(
        name=f"hatchet.run/{name}",
        trace_id=trace,
        span_id=span_id,
        parent_id=parent,
        start_ns=1 + at,
        end_ns=1 + at + took,
        **given,
    )


def drawn(spans: list[ReceivedSpan], others: list[ReceivedSpan] | None = None, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render_trace(spans, others or []))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tree_orders_children_below_parents_by_time() -> None:
    spans = [
        span("b", "3", "1", at=5),
        span("a", "2", "1", at=1),
        span("run", "1"),
        span("c", "4", "2", at=2),
    ]
    lines = TraceTree(spans).lines()
    assert [(line.guide, line.span.name[12:]) for line in lines] == [
        ("", "run"),
        ("├─ ", "a"),
        ("│  └─ ", "c"),
        ("└─ ", "b"),
    ]


def test_tree_missing_parent_is_marked_as_orphan() -> None:
    tree = TraceTree([span("run", "1"), span("lost", "2", "9", at=3)])
    assert [one.name for one in tree.orphans] == ["hatchet.run/lost"]
    assert "? lost" in drawn(tree.spans)
    assert "1 without their parent" in drawn(tree.spans)


def test_tree_circle_of_parents_is_drawn_once() -> None:
    spans = [span("a", "1", "2"), span("b", "2", "1"), span("self", "3", "3")]
    assert len(TraceTree(spans).lines()) == 3


def test_tree_deep_chain_is_drawn() -> None:
    spans = [span(f"s{number}", str(number), str(number - 1) if number else "") for number in range(3000)]
    assert len(TraceTree(spans).lines()) == 3000


def test_render_link_to_another_trace_is_drawn_below() -> None:
    flush = span("flush", "f", trace="t2")
    insert = span("INSERT task", "i", "f", trace="t2")
    member = span("commit-wait", "2", "1", links=(("t2", "f"),))
    text = drawn([span("run", "1", took=50), member], [flush, insert])
    assert "↗ flush" in text
    assert "INSERT task" in text


def test_render_error_shows_its_reason() -> None:
    text = drawn([span("run", "1", error=True, message="", attributes={"error.type": "timeout"})])
    assert "run ✗ timeout" in text


def test_render_beyond_limit_says_how_much_is_left() -> None:
    spans = [span("run", "r"), *(span(f"x{number}", str(number), "r") for number in range(300))]
    assert "101 more lines" in drawn(spans)


def test_render_narrow_terminal_keeps_durations_and_bars() -> None:
    spans = [span("run", "1", took=12_300_000), span("a very long name indeed " * 9, "2", "1", took=850_000)]
    for width in (20, 40, 80, 100):
        lines = drawn(spans, width=width).splitlines()[-2:]
        assert [line.split()[0] for line in lines] == ["12.3ms", "850us"], width
        assert all("━" in line and len(line) <= width for line in lines), width
        assert lines[1].split()[1].count("·") + lines[1].split()[1].count("━") == max(8, width // 5)


def test_render_similar_siblings_are_one_and_a_line_for_the_rest() -> None:
    spans = [span("run", "r", took=90)]
    for number in range(20):
        child = f"c{number}"
        spans.append(span("run", child, "r", at=number, took=1000 * (10 + number)))
        spans.append(span("attempt", f"a{number}", child, at=number, took=5))
    spans.append(span("flush", "f", "c3", at=3))  # which of them carries the shared flush is chance
    spans.append(span("run", "odd", "r", at=70, took=9, error=True))
    text = drawn(spans)
    assert "… 19 more like it (11us/20us/29us)" in text
    assert text.count("run") == 3  # the parent, the first child, and the one that failed
    assert text.count("attempt") == 1
    assert len(TraceTree(spans).lines(whole=True)) == len(spans)


def test_render_two_similar_siblings_are_both_drawn() -> None:
    spans = [span("run", "r", took=90), span("x", "1", "r", at=1), span("x", "2", "r", at=2)]
    assert "more like it" not in drawn(spans)


def test_format_duration_has_a_fitting_unit() -> None:
    assert [format_duration(ns) for ns in (850_000, 12_340_000, 340_000_000, 4_560_000_000)] == [
        "850us",
        "12.3ms",
        "340ms",
        "4.56s",
    ]


def test_group_by_trace_orders_by_first_span() -> None:
    groups = group_by_trace([span("b", "1", trace="late", at=9), span("a", "2", trace="early")])
    assert list(groups) == ["early", "late"]


def test_span_violations_names_what_is_undeclared() -> None:
    good = span("flush", "1", attributes={"hatchet.run/batch.size": 3})
    bad = [
        span("made up thing", "2", kind="INTERNAL"),
        span("flush", "3", kind="SERVER"),
        span("flush", "4", attributes={"db.query.text": "x"}),
        span("flush", "5", attributes={"hatchet.run/batch.size": "3"}),
        span("flush", "6", error=True),
        span("flush", "7", events=(("nothing", 1),)),
    ]
    assert span_violations([good]) == []
    assert len(span_violations(bad)) == 6
    assert span_violations([span("other", "8", scope="hatchet-sdk")]) == []
    assert span_violations([span("INSERT task", "9", kind="CLIENT")]) == []


def test_trace_violations_names_roots_orphans_and_doubles() -> None:
    assert trace_violations([span("run", "1"), span("a", "2", "1")]) == []
    found = trace_violations([span("run", "1"), span("run", "2"), span("a", "3", "9"), span("b", "3", "1")])
    assert len(found) == 3
