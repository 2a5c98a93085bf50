"""The judge of I12 itself."""

from uuid import UUID

from broadaxe.domain.task import TaskState
from broadaxe.testkit.fifo import Fifo, Step, broken_order, judged_together

Q, A, C, X = TaskState.QUEUED, TaskState.ASSIGNED, TaskState.COMPLETED, TaskState.CANCELLED


def judged(*tasks: list[Step]) -> list[tuple[int, int]]:
    """Which task (by place) was overtaken by which."""
    steps = {UUID(int=number): task for number, task in enumerate(tasks)}
    lines = broken_order(dict.fromkeys(steps, "lane"), steps)
    return [(UUID(line.split()[4]).int, UUID(line.split()[1]).int) for line in lines]


def test_first_come_first_served_is_fine() -> None:
    assert judged([(1, Q, 0), (5, A, 0)], [(2, Q, 0), (6, A, 0), (7, C, 0)], [(9, A, 0)]) == []


def test_overtaking_is_found() -> None:
    assert judged([(1, Q, 0), (6, A, 0)], [(2, Q, 0), (5, A, 0)]) == [(0, 1)]
    assert judged([(1, Q, 0)], [(2, Q, 0), (5, A, 0)]) == [(0, 1)]


def test_born_assigned_while_another_waits_is_overtaking() -> None:
    assert judged([(1, Q, 0), (6, A, 0)], [(2, A, 0)]) == [(0, 1)]


def test_what_one_commit_does_happens_at_once() -> None:
    assert judged([(1, Q, 0), (6, A, 0)], [(1, Q, 0), (5, A, 0)]) == []
    assert judged([(1, Q, 0), (5, A, 0)], [(2, Q, 0), (5, A, 0)]) == []


def test_task_that_was_cancelled_first_was_not_overtaken() -> None:
    assert judged([(1, Q, 0), (3, X, 0)], [(2, Q, 0), (5, A, 0)]) == []
    assert judged([(1, Q, 0), (6, X, 0)], [(2, Q, 0), (5, A, 0)]) == [(0, 1)]


def test_retries_make_no_promise() -> None:
    assert judged([(1, A, 0), (2, Q, 1), (9, A, 1)], [(3, Q, 0), (4, A, 0)]) == []


def test_engines_are_judged_apart() -> None:
    one, two, three, unknown = (UUID(int=number) for number in range(4))
    steps = {one: [(1, Q, 0), (9, A, 0)], two: [(2, Q, 0), (5, A, 0)], three: [(3, Q, 0), (4, A, 0)]}
    steps[unknown] = [(4, A, 0)]
    origins = {one: "first", two: "second", three: "second"}

    def lines(fifo: Fifo) -> list[str]:
        return broken_order(judged_together(dict.fromkeys(steps, "lane"), origins, fifo), steps)

    assert len(lines(Fifo.ALL)) == 3
    assert lines(Fifo.ENGINE) == [f"I12: {three} came after {two} and went first"]
    assert lines(Fifo.NOBODY) == []


def test_lanes_do_not_meet() -> None:
    first, second = UUID(int=1), UUID(int=2)
    steps = {first: [(1, Q, 0)], second: [(2, Q, 0), (3, A, 0)]}
    assert broken_order({first: 1, second: 3}, steps) == []
