"""The attempts that a step's attempt came after, out of rows: for spans that are told again after a crash."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import task_id_of
from broadaxe.domain.task import TaskFacts
from broadaxe.engine.scheduler.live import StepPlan
from broadaxe.store.ledger import Ledger, StoredTask

_PAGE = 1_000


class EndedStep(NamedTuple):
    """An attempt whose span is told again."""

    facts: TaskFacts
    plan: StepPlan
    run_again_from: datetime | None = None
    """When this attempt was queued, of one that a person ran again: its parents may have run again too."""


async def parents_in_rows(ledger: Ledger, ended: Sequence[EndedStep]) -> list[tuple[tuple[UUID, int], ...]]:
    """For each the tasks of its parents that a worker had, and their last attempts: as `parents_of` says
    it of live ones. What a parent did before it was run again is not told. The ledger's errors."""
    wanted = [_parent_tasks(one) for one in ended]
    by_tenant: dict[TenantId, dict[UUID, None]] = {}
    for one, ids in zip(ended, wanted, strict=True):
        by_tenant.setdefault(one.facts.tenant_id, {}).update(dict.fromkeys(ids))
    rows: dict[UUID, StoredTask] = {}
    for tenant_id, parents in by_tenant.items():
        every = list(parents)
        for at in range(0, len(every), _PAGE):
            found = await ledger.get_tasks(tenant_id, every[at : at + _PAGE])
            rows |= {row.facts.id: row for row in found}
    return [
        tuple((task_id, rows[task_id].status.attempt) for task_id in ids if _before(rows.get(task_id), one))
        for one, ids in zip(ended, wanted, strict=True)
    ]


def _parent_tasks(ended: EndedStep) -> list[UUID]:
    dag, run_id = ended.plan.dag, ended.facts.run_id
    if dag is None:
        return []
    return [task_id_of(run_id, dag.steps[at].step.id) for at in dag.before(ended.plan.index)]


def _before(parent: StoredTask | None, ended: EndedStep) -> bool:
    """Whether the parent ended, at a worker, before the attempt."""
    if parent is None or parent.status.worker_id is None or parent.status.finished_at is None:
        return False
    return ended.run_again_from is None or parent.status.finished_at <= ended.run_again_from
