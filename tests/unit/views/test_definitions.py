"""The cache of definitions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from broadaxe.domain.ids import TenantId, VersionId, WorkflowId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition, WorkflowVersion
from broadaxe.views.definitions import Definitions, definition_of, step_of

TENANT, OTHER = TenantId(uuid4()), TenantId(uuid4())


class Reads:
    """Versions of one tenant; `asked` keeps what was looked up."""

    def __init__(self, *ids: UUID) -> None:
        self.ids = ids
        self.asked: list[set[UUID]] = []

    async def get_versions(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[WorkflowVersion]:
        self.asked.append(set(ids))
        if tenant_id != TENANT:
            return []
        definition = WorkflowDefinition("w", ())
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            WorkflowVersion(TENANT, WorkflowId(one), VersionId(one), definition, at, 1)
            for one in ids
            if one in self.ids
        ]


def cache_over(reads: Any, limit: int = 10) -> Definitions:
    return Definitions(reads, limit)


async def test_load_known_version_read_once() -> None:
    first, second = uuid4(), uuid4()
    reads = Reads(first, second)
    cache = cache_over(reads)
    assert set(await cache.load(TENANT, [first, first])) == {first}
    assert set(await cache.load(TENANT, [first, second])) == {first, second}
    await cache.load(TENANT, [first, second])
    assert reads.asked == [{first}, {second}]


async def test_load_other_tenant_gets_nothing_out_of_the_cache() -> None:
    one = uuid4()
    cache = cache_over(Reads(one))
    await cache.load(TENANT, [one])
    assert await cache.load(OTHER, [one]) == {}


async def test_load_full_cache_least_recently_used_makes_room() -> None:
    ids = [uuid4() for _ in range(3)]
    reads = Reads(*ids)
    cache = cache_over(reads, limit=2)
    for one in (ids[0], ids[1], ids[0], ids[2], ids[0], ids[1]):
        await cache.load(TENANT, [one])
    assert reads.asked == [{ids[0]}, {ids[1]}, {ids[2]}, {ids[1]}]


def test_step_of_deleted_definition_is_named_by_its_id() -> None:
    step = uuid4()
    unknown = definition_of({}, uuid4())
    assert (unknown.name, step_of(unknown, step).name) == ("unknown", str(step))
    failing = StepDefinition(id=step, name="on-failure", action="a:b")
    assert step_of(WorkflowDefinition("w", (), on_failure=failing), step) is failing
