"""The workflows as the engine needs them: cached by name and version, what follows worked out once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from broadaxe.domain.features import missing_feature
from broadaxe.domain.ids import TenantId, VersionId
from broadaxe.domain.run import has_run
from broadaxe.domain.task import StepPolicy
from broadaxe.domain.workflow import StepDefinition, WorkflowVersion
from broadaxe.engine.context import EngineContext
from broadaxe.engine.runs.dag_plan import DagPlan
from broadaxe.engine.scheduler.live import Need, StepPlan

_VERSIONS = 4_096
_NAMES = 4_096


class Catalog:
    """Plans by version (they never change) and newest versions by name (forgotten when told so)."""

    def __init__(self, context: EngineContext) -> None:
        self._ledger = context.ledger
        self._max_internal_retries = context.options.max_internal_retries
        self._plans: OrderedDict[UUID, StepPlan] = OrderedDict()
        self._newest: OrderedDict[tuple[TenantId, str], StepPlan] = OrderedDict()
        self._loading: dict[tuple[TenantId, str], asyncio.Future[StepPlan | None]] = {}
        self.on_forget: list[Callable[[TenantId | None], None]] = []
        """Told of the tenant whose workflows changed elsewhere; None: anybody's."""

    def known(self, tenant_id: TenantId, name: str) -> StepPlan | None:
        """The newest version if it is in memory."""
        return self._newest.get((tenant_id, name))

    async def newest(self, tenant_id: TenantId, name: str) -> StepPlan | None:
        """The newest version of a workflow, None when there is none."""
        plan = self._newest.get((tenant_id, name))
        if plan is not None:
            return plan
        # Those who ask while it is read share the answer: a herd of crons asks at one moment.
        loading = self._loading.get((tenant_id, name))
        if loading is None:
            loading = asyncio.ensure_future(self._load(tenant_id, name))
            self._loading[(tenant_id, name)] = loading
        return await asyncio.shield(loading)

    async def _load(self, tenant_id: TenantId, name: str) -> StepPlan | None:
        key, mine = (tenant_id, name), asyncio.current_task()
        try:
            version = await self._ledger.latest_version(tenant_id, name)
            if version is None:
                return None
            # Forgotten while it was read: a newer one may be there by now.
            return self.learn(version) if self._loading.get(key) is mine else self._plan(version)
        finally:
            if self._loading.get(key) is mine:
                del self._loading[key]

    async def step(self, tenant_id: TenantId, version_id: VersionId, step_id: UUID) -> StepPlan | None:
        """A step of a version."""
        plan = await self.version(tenant_id, version_id)
        return plan if plan is None else step_of(plan, step_id)

    async def version(self, tenant_id: TenantId, version_id: VersionId) -> StepPlan | None:
        """A version, old ones too, as the plan of its first step."""
        plan = self._plans.get(version_id)
        if plan is not None and plan.version.tenant_id == tenant_id:
            return plan
        version = await self._ledger.get_version(tenant_id, version_id)
        return self._plan(version) if version is not None else None

    def learn(self, version: WorkflowVersion) -> StepPlan:
        """A version that is the newest of its workflow."""
        plan = self._plan(version)
        self._newest[(version.tenant_id, version.definition.name)] = plan
        if len(self._newest) > _NAMES:
            self._newest.popitem(last=False)
        return plan

    def forget(self, tenant_id: TenantId, name: str) -> None:
        """Somebody registered it elsewhere."""
        self._newest.pop((tenant_id, name), None)
        self._loading.pop((tenant_id, name), None)
        for listener in self.on_forget:
            listener(tenant_id)

    def forget_names(self) -> None:
        """Another process may have registered anything."""
        self._newest.clear()
        self._loading.clear()
        for listener in self.on_forget:
            listener(None)

    def _plan(self, version: WorkflowVersion) -> StepPlan:
        plan = self._plans.get(version.version_id)
        if plan is None:
            plan = plan_version(version, self._max_internal_retries)
            self._plans[version.version_id] = plan
            if len(self._plans) > _VERSIONS:
                self._plans.popitem(last=False)
        return plan


def plan_version(version: WorkflowVersion, max_internal_retries: int) -> StepPlan:
    """What follows from a version, as the plan of its first step: that leads to the others."""
    definition = version.definition
    missing = missing_feature(definition)
    dag = DagPlan(definition) if has_run(definition) else None
    steps = [*definition.steps, *((definition.on_failure,) if definition.on_failure is not None else ())]
    plans = []
    for index, step in enumerate(steps):
        need = Need(
            slots=tuple(sorted(step.slots.items())),
            labels=step.labels if definition.sticky is None else (),
            sticky=definition.sticky,
        )
        policy = step_policy(step, max_internal_retries)
        plans.append(StepPlan(version, step, policy, need, missing, dag, index))
    if dag is not None:
        dag.steps = tuple(plans)
    return plans[0]


def step_of(plan: StepPlan, step_id: UUID) -> StepPlan | None:
    """Another step of the same version."""
    if plan.dag is None:
        return plan
    position = plan.dag.position(step_id)
    return None if position is None else plan.dag.steps[position]


def step_policy(step: StepDefinition, max_internal_retries: int) -> StepPolicy:
    """The rules that decide about a step's tasks."""
    return StepPolicy(
        retries=step.retries,
        backoff_factor=step.backoff_factor,
        backoff_max=step.backoff_max,
        timeout=step.timeout,
        schedule_timeout=step.schedule_timeout,
        max_internal_retries=max_internal_retries,
    )
