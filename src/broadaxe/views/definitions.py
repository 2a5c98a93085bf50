"""Names of workflows, steps and actions, from the stored versions.

A version never changes, so what was read once is kept; the least recently used ones make room.
"""

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition, WorkflowVersion
from broadaxe.store.reads import Reads

_UNKNOWN = WorkflowDefinition(name="unknown", steps=())


class Definitions:
    """A cache of versions by (tenant, id), holding at most `limit` of them."""

    def __init__(self, reads: Reads, limit: int = 2_000) -> None:
        self._reads = reads
        self._limit = limit
        self._versions: OrderedDict[tuple[UUID, UUID], WorkflowVersion] = OrderedDict()

    async def load(self, tenant_id: TenantId, ids: Iterable[UUID]) -> dict[UUID, WorkflowDefinition]:
        """The definitions of these versions; one statement for those not read before."""
        wanted = set(ids)
        found: dict[UUID, WorkflowDefinition] = {}
        for version_id in wanted:
            version = self._versions.get((tenant_id, version_id))
            if version is not None:
                self._versions.move_to_end((tenant_id, version_id))
                found[version_id] = version.definition
        missing = [version_id for version_id in wanted if version_id not in found]
        if missing:
            for version in await self._reads.get_versions(tenant_id, missing):
                self.keep(version)
                found[version.version_id] = version.definition
        return found

    def keep(self, version: WorkflowVersion) -> None:
        """Remember a version that came with another answer."""
        self._versions[version.tenant_id, version.version_id] = version
        while len(self._versions) > self._limit:
            self._versions.popitem(last=False)


def definition_of(found: dict[UUID, WorkflowDefinition], version_id: UUID) -> WorkflowDefinition:
    """A loaded definition; a nameless one for a version that was deleted under its tasks."""
    return found.get(version_id, _UNKNOWN)


def step_of(definition: WorkflowDefinition, step_id: UUID) -> StepDefinition:
    """The step of a definition; a step named by its id if it is not in there."""
    for step in definition.steps:
        if step.id == step_id:
            return step
    if definition.on_failure is not None and definition.on_failure.id == step_id:
        return definition.on_failure
    return StepDefinition(id=step_id, name=str(step_id), action="")
