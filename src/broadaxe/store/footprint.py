"""Which rows a batch leaves behind: by them a database that crashed is asked whether it has the batch."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from broadaxe.store.ledger import NewTask
from broadaxe.store.pending import Pending
from broadaxe.store.rows import columns_of
from broadaxe.store.run_ledger import NewRun


def footprint(ops: Sequence[Pending]) -> list[object]:
    """The parameters of `transaction_wrote` behind the transaction's name.

    What is not among these rows (notes, ended attempts, claims, messages) is only written with one that is,
    or can be written again without harm.
    """
    lines = [(line.task_id, line.created_at) for op in ops for line in op.lines]
    skips = [(skip.tenant_id, skip.source_id, skip.first) for op in ops for skip in op.skips]
    return [[row for op in ops for row in _ids(op)], *columns_of(lines, 2), *columns_of(skips, 3)]


def _ids(op: Pending) -> Iterator[UUID]:
    """Ids of the tasks, runs and events that it makes or changes."""
    made: list[NewTask | NewRun] = [*op.tasks]
    yield from op.task_ids
    if op.run_change is not None:
        made += op.run_change.tasks
        yield op.run_change.run_id
    for one in made:
        # A task that is a run of its own has the id of its run.
        yield one.facts.run_id
        yield from (task.facts.id for task in (one.tasks if isinstance(one, NewRun) else (one,)))
    if op.event is not None:
        yield op.event.event.id
