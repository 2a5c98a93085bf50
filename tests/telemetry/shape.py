"""The shape of a trace as text: names, kinds, parents, links and what tells one span from its sibling."""

from collections.abc import Sequence

from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.trace_assert import Forest

PREFIX = "hatchet.run/"
_TELLING = ("workflow.name", "attempt", "outcome", "retry.reason", "event.type", "batch.size", "stream.kind")


def _line(span: ReceivedSpan, forest: Forest) -> str:
    name = span.name.removeprefix(PREFIX)
    told = [
        f"{key}={span.attributes[PREFIX + key]}"
        for key in _TELLING
        if PREFIX + key in span.attributes
        and not (key == "workflow.name" and name not in ("run", "ingest"))
        and not (key == "attempt" and name not in ("attempt", "queue-wait"))
    ]
    if span.error:
        told.append(f"error={span.attributes.get('error.type')}")
    links = sorted(
        {
            other.name.removeprefix(PREFIX)
            for other in forest.spans
            if (other.trace_id, other.span_id) in span.links
        }
    )
    if links:
        told.append("-> " + ", ".join(links))
    return " ".join([f"{name} [{span.kind}]", *told])


def drawn_shape(spans: Sequence[ReceivedSpan]) -> str:
    """The tree; siblings by name and then by what they tell, since their order in time may be chance."""
    forest = Forest(spans)
    out: list[str] = []

    def draw(span: ReceivedSpan, depth: int) -> str:
        below = sorted(draw(child, depth + 1) for child in forest.children(span))
        return "\n".join(["  " * depth + _line(span, forest), *below])

    out = [draw(root, 0) for root in spans if not root.parent_id]
    return "\n".join(sorted(out)) + "\n"
