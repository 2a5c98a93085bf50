"""Workflows and their immutable versions."""

from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId, VersionId, WorkflowId
from broadaxe.domain.registration import checksum
from broadaxe.domain.workflow import WorkflowDefinition, WorkflowVersion
from broadaxe.store.connection import Database
from broadaxe.store.events import declare_events
from broadaxe.store.rows import definition_bytes, storable, trace_bytes, version_of
from broadaxe.store.session import Session
from broadaxe.store.statements import statement
from broadaxe.telemetry.context import TraceContext


class WorkflowStore:
    """Stores definitions. The name of a workflow is unique in its tenant."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, trace: TraceContext | None = None
    ) -> WorkflowVersion:
        """Stores a version with its crons, or returns the newest if its checksum is the same."""
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
                if definition.cron_triggers:
                    # The workflow may have been deleted meanwhile, and its crons with it.
                    await self._declare(session, tenant_id, found, definition, trace, now)
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
            await self._declare(session, tenant_id, found, definition, trace, now)
            return WorkflowVersion(tenant_id, WorkflowId(found), version_id, definition, now, ordinal)

        return await self._db.transaction(work)

    async def _declare(
        self,
        session: Session,
        tenant_id: TenantId,
        workflow_id: UUID,
        definition: WorkflowDefinition,
        trace: TraceContext | None,
        now: datetime,
    ) -> None:
        """The declared crons become those of this version."""
        expressions = sorted(set(definition.cron_triggers))
        await session.fetch(
            statement("cron_declared_replace"), tenant_id, workflow_id,
            [self._db.ids.uuid7() for _ in expressions], expressions, None,
            (definition.cron_input or "{}").encode(), b"{}", trace_bytes(trace), now,
        )  # fmt: skip

    async def latest_version(self, tenant_id: TenantId, name: str) -> WorkflowVersion | None:
        """The newest version of the workflow of this name."""
        if not storable(name):
            return None
        rows = await self._db.fetch(statement("workflow_version_by_name"), tenant_id, name)
        return version_of(tenant_id, rows[0]) if rows else None

    async def get_version(self, tenant_id: TenantId, version_id: VersionId) -> WorkflowVersion | None:
        """One version."""
        rows = await self._db.fetch(statement("workflow_version_get"), tenant_id, version_id)
        return version_of(tenant_id, rows[0]) if rows else None
