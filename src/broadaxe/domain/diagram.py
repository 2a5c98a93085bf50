"""The drawing of the task's state machine, made from the transition table.

`python -m broadaxe.domain.diagram` prints the page; `docs/architecture/task-states.md` is its output, and a
test compares the two.
"""

from broadaxe.domain.task import TaskState
from broadaxe.domain.transitions import TRANSITIONS

_HEAD = """# The states of a task

Generated from the table in `src/broadaxe/domain/transitions.py` by `python -m broadaxe.domain.diagram`:
change the table, not this page. An event that has no arrow in a state is stale there: it is dropped and
counted.
"""


def render_page() -> str:
    """The whole Markdown page: the Mermaid drawing, then each row of the table with its rule's meaning."""
    return "\n".join([_HEAD, *_drawing(), "", *_rows(), ""])


def _drawing() -> list[str]:
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> QUEUED: created",
        "    [*] --> ASSIGNED: born assigned",
    ]
    arrows: dict[tuple[TaskState, TaskState], list[str]] = {}
    for (state, event), transition in TRANSITIONS.items():
        for target in transition.to:
            arrows.setdefault((state, target), []).append(event.__name__)
    for (state, target), events in arrows.items():
        lines.append(f"    {state.name} --> {target.name}: {', '.join(events)}")
    lines += [f"    {state.name} --> [*]" for state in TaskState if state.final]
    return [*lines, "```"]


def _rows() -> list[str]:
    lines = ["| state | event | rule | next | what it does |", "|---|---|---|---|---|"]
    for (state, event), transition in TRANSITIONS.items():
        meaning = " ".join((transition.rule.__doc__ or "").split("\n\n")[0].split())
        targets = ", ".join(target.name for target in transition.to)
        rule = transition.rule.__name__
        lines.append(f"| {state.name} | {event.__name__} | `{rule}` | {targets} | {meaning} |")
    return lines


if __name__ == "__main__":
    print(render_page(), end="")
