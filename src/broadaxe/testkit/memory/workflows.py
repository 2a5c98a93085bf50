"""Workflows in memory."""

from uuid import UUID, uuid5

from broadaxe.domain.ids import TenantId, VersionId, WorkflowId
from broadaxe.domain.registration import checksum
from broadaxe.domain.workflow import WorkflowDefinition, WorkflowVersion
from broadaxe.telemetry.context import TraceContext
from broadaxe.testkit.memory.commits import MemoryCommits

_NAMESPACE = UUID("6f1d0b1e-5f4c-4d0a-9f0e-0a6b3c2d1e4f")


class MemoryWorkflows(MemoryCommits):
    """Versions by name; the newest counts."""

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, trace: TraceContext | None = None
    ) -> WorkflowVersion:
        """A new version unless the newest is the same."""
        await self._reach()
        newest = self.tables.newest.get((tenant_id, definition.name))
        digest = checksum(definition)
        if newest is not None and self.tables.checksums[newest.version_id] == digest:
            return newest
        workflow_id = uuid5(_NAMESPACE, f"{tenant_id}/{definition.name}")
        version_id = uuid5(workflow_id, f"{len(self.tables.versions)}/{digest}")
        number = 1 if newest is None else newest.number + 1
        version = WorkflowVersion(
            tenant_id, WorkflowId(workflow_id), VersionId(version_id), definition, self._clock.now(), number
        )
        self.tables.newest[(tenant_id, definition.name)] = version
        self.tables.versions[version_id] = version
        self.tables.checksums[version_id] = digest
        self.events.declare(version)
        self.schedules.declare(version, trace)
        return version

    async def latest_version(self, tenant_id: TenantId, name: str) -> WorkflowVersion | None:
        """The newest version."""
        await self._reach()
        return self.tables.newest.get((tenant_id, name))

    async def get_version(self, tenant_id: TenantId, version_id: VersionId) -> WorkflowVersion | None:
        """A version."""
        await self._reach()
        version = self.tables.versions.get(version_id)
        return version if version is not None and version.tenant_id == tenant_id else None
