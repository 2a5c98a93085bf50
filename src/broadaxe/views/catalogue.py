"""Workflows, their versions, and the tenant, read."""

from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.reads import Reads, WorkflowRow
from broadaxe.views.definitions import Definitions
from broadaxe.views.model import Page, TenantView, VersionView, WorkflowView

VERSIONS_SHOWN = 100
"""Versions that come with a workflow."""


class CatalogueViews:
    """The part of `Views` about what is registered."""

    def __init__(self, reads: Reads, definitions: Definitions) -> None:
        self._reads = reads
        self._definitions = definitions

    async def list_workflows(
        self, tenant_id: TenantId, name: str | None, offset: int, limit: int
    ) -> Page[WorkflowView]:
        rows = await self._reads.list_workflows(tenant_id, name, offset, limit)
        if len(rows) < limit and (rows or offset == 0):
            total = offset + len(rows)
        else:
            total = await self._reads.count_workflows(tenant_id, name)
        shown = [_workflow(row, (_version(row.newest),)) for row in rows]
        return Page(shown, offset, limit, total)

    async def get_workflow(self, tenant_id: TenantId, workflow_id: UUID) -> WorkflowView | None:
        row = await self._reads.get_workflow(tenant_id, workflow_id)
        if row is None:
            return None
        versions = await self._reads.list_versions(tenant_id, workflow_id, VERSIONS_SHOWN)
        return _workflow(row, tuple(map(_version, versions)))

    async def get_version(
        self, tenant_id: TenantId, workflow_id: UUID, version_id: UUID | None
    ) -> VersionView | None:
        row = await self._reads.get_workflow(tenant_id, workflow_id)
        if row is None:
            return None
        if version_id is None or version_id == row.newest.version_id:
            return _version(row.newest)
        found = await self._reads.get_version(tenant_id, workflow_id, version_id)
        return None if found is None else _version(found)

    async def get_tenant(self, tenant_id: TenantId) -> TenantView | None:
        row = await self._reads.get_tenant(tenant_id)
        if row is None:
            return None
        return TenantView(row.id, row.name, row.slug, row.created_at, row.updated_at)


def _version(version: WorkflowVersion) -> VersionView:
    return VersionView(
        id=version.version_id,
        workflow_id=version.workflow_id,
        tenant_id=version.tenant_id,
        number=version.number,
        definition=version.definition,
        created_at=version.created_at,
    )


def _workflow(row: WorkflowRow, versions: tuple[VersionView, ...]) -> WorkflowView:
    return WorkflowView(
        id=row.id,
        tenant_id=row.newest.tenant_id,
        name=row.name,
        created_at=row.created_at,
        versions=versions,
        paused=row.paused,
    )
