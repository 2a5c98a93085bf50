"""Workflows and their immutable versions."""

from broadaxe.domain.ids import TenantId, VersionId, WorkflowId
from broadaxe.domain.registration import checksum
from broadaxe.domain.workflow import WorkflowDefinition, WorkflowVersion
from broadaxe.store.connection import Database
from broadaxe.store.events import declare_events
from broadaxe.store.rows import definition_bytes, version_of
from broadaxe.store.session import Session
from broadaxe.store.statements import statement


class WorkflowStore:
    """Stores definitions. The name of a workflow is unique in its tenant."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put_workflow(self, tenant_id: TenantId, definition: WorkflowDefinition) -> WorkflowVersion:
        """Stores a version, or returns the newest if its checksum is the same."""
        text = definition_bytes(definition)
        fingerprint = bytes.fromhex(checksum(definition))
        now = self._db.clock.now()
        workflow_id, version_id = WorkflowId(self._db.ids.uuid7()), VersionId(self._db.ids.uuid7())

        async def work(session: Session) -> WorkflowVersion:
            # Locks the workflow's row: two that register the same one at once take turns here.
            found = await session.fetch_value(
                statement("workflow_upsert"), tenant_id, workflow_id, definition.name, now
            )
            newest = await session.fetch(statement("workflow_version_newest"), tenant_id, found)
            if newest and newest[0]["checksum"] == fingerprint:
                return version_of(tenant_id, newest[0])
            ordinal = newest[0]["ordinal"] + 1 if newest else 1
            await session.fetch(
                statement("workflow_version_add"),
                tenant_id,
                found,
                version_id,
                ordinal,
                fingerprint,
                text,
                now,
            )
            await declare_events(
                self._db, session, tenant_id, found, definition.event_triggers, definition.default_filters
            )
            return WorkflowVersion(tenant_id, WorkflowId(found), version_id, definition, now)

        return await self._db.transaction(work)

    async def latest_version(self, tenant_id: TenantId, name: str) -> WorkflowVersion | None:
        """The newest version of the workflow of this name."""
        rows = await self._db.fetch(statement("workflow_version_by_name"), tenant_id, name)
        return version_of(tenant_id, rows[0]) if rows else None

    async def get_version(self, tenant_id: TenantId, version_id: VersionId) -> WorkflowVersion | None:
        """One version."""
        rows = await self._db.fetch(statement("workflow_version_get"), tenant_id, version_id)
        return version_of(tenant_id, rows[0]) if rows else None
