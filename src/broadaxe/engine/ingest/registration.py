"""Registering workflows."""

from collections.abc import Iterator

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.ids import TenantId
from broadaxe.domain.payloads import object_problem
from broadaxe.domain.registration import prepare
from broadaxe.domain.registration_checks import Limits
from broadaxe.domain.workflow import WorkflowDefinition, WorkflowVersion
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.subscriptions import Subscriptions
from broadaxe.engine.schedules.calendar import expression_problem
from broadaxe.engine.schedules.changes import ScheduleChanges
from broadaxe.engine.schedules.requests import Changed
from broadaxe.expr.compiled import Cel
from broadaxe.telemetry.context import TraceContext


class Registration:
    """Checks a definition and stores it as a version."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        catalog: Catalog,
        cel: Cel,
        subscriptions: Subscriptions,
        changes: ScheduleChanges,
    ) -> None:
        self._ledger = context.ledger
        self._gate = gate
        self._catalog = catalog
        self._cel = cel
        self._subscriptions = subscriptions
        self._changes = changes
        options = context.options
        self._limits = Limits(steps=options.workflow_steps, waits=options.workflow_waits)

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, asked: TraceContext | None
    ) -> WorkflowVersion:
        """Store a version with its crons, or find the equal one. InvalidArgument with all that is wrong.

        `asked`: what the runs of its crons link to.
        """
        prepared = prepare(definition, self._limits, self._cel.compile_problem)
        problems = prepared.problems or tuple(_schedule_problems(prepared.definition))
        if problems:
            raise InvalidArgument("; ".join(problems))
        await self._gate.wait()
        version = await self._ledger.put_workflow(tenant_id, prepared.definition, asked)
        self._catalog.learn(version)
        self._subscriptions.forget(tenant_id)
        if definition.cron_triggers or self._changes.has_crons(tenant_id, version.workflow_id):
            await self._changes.announce(tenant_id, Changed(crons_of=version.workflow_id))
        return version


def _schedule_problems(definition: WorkflowDefinition) -> Iterator[str]:
    """What only a calendar can tell, and what no run could be started with."""
    for index, expression in enumerate(definition.cron_triggers):
        problem = expression_problem(expression)
        if problem is not None:
            yield f"cron_triggers[{index}]: {problem}"
    if definition.cron_input:
        problem = object_problem(definition.cron_input.encode())
        if problem is not None:
            yield f"cron_input: {problem}"
