"""Registering workflows."""

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.ids import TenantId
from broadaxe.domain.registration import prepare
from broadaxe.domain.workflow import WorkflowDefinition, WorkflowVersion
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.expr.compiled import Cel


class Registration:
    """Checks a definition and stores it as a version."""

    def __init__(self, context: EngineContext, gate: Gate, catalog: Catalog, cel: Cel) -> None:
        self._ledger = context.ledger
        self._gate = gate
        self._catalog = catalog
        self._cel = cel

    async def put_workflow(self, tenant_id: TenantId, definition: WorkflowDefinition) -> WorkflowVersion:
        """Store a version, or find the equal one. InvalidArgument with everything that is wrong."""
        prepared = prepare(definition, check_expression=self._cel.compile_problem)
        if prepared.problems:
            raise InvalidArgument("; ".join(prepared.problems))
        await self._gate.wait()
        version = await self._ledger.put_workflow(tenant_id, prepared.definition)
        self._catalog.learn(version)
        return version
