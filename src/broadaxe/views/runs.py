"""Runs and tasks, read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from broadaxe.domain.dag_graph import parents_of
from broadaxe.domain.ids import TenantId
from broadaxe.domain.naming import display_name
from broadaxe.domain.run import task_id_of
from broadaxe.domain.sampling import kept
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.store.reads import LogCriteria, Reads, RunRow, TaskCriteria, TaskHistory, TaskRow
from broadaxe.views.api import RunFilter
from broadaxe.views.definitions import Definitions, definition_of, step_of
from broadaxe.views.model import (
    LogView,
    NamedRun,
    Page,
    RunStatus,
    RunView,
    ShapeItem,
    StateCount,
    TaskView,
    TimelineEntry,
    TimingView,
)
from broadaxe.views.presenting import (
    present_attempt,
    present_run,
    present_task,
    states_of,
    status_of,
)
from broadaxe.views.timeline import build_timeline, merge_timelines

PAYLOAD_LIMIT = 64 * 1024 * 1024
"""Bytes of inputs and outputs that one page may hold."""

MAX_DEPTH = 10
"""Levels of spawned runs that timings go down."""


class RunViews:
    """The part of `Views` about runs and tasks."""

    def __init__(self, reads: Reads, definitions: Definitions, payload_limit: int = PAYLOAD_LIMIT) -> None:
        self._reads = reads
        self._definitions = definitions
        self._payload_limit = payload_limit

    async def list_runs(
        self,
        tenant_id: TenantId,
        where: RunFilter,
        offset: int,
        limit: int,
        *,
        payloads: bool = True,
        total: bool = True,
        only_tasks: bool = False,
    ) -> Page[TaskView]:
        if where.nothing:
            return Page([], offset, limit, 0 if total else None)
        criteria = _criteria(where)
        budget = self._payload_limit if payloads else 0
        rows: Sequence[TaskRow | RunRow]
        if only_tasks:
            rows = await self._reads.list_tasks(tenant_id, criteria, offset, limit, budget)
        else:
            rows = await self._reads.list_runs(tenant_id, criteria, offset, limit, budget)
        count: int | None = None
        if total:
            if len(rows) < limit and (rows or offset == 0):
                count = offset + len(rows)
            else:
                count = await self.count_runs(tenant_id, where, only_tasks)
        return Page(await self._present(tenant_id, rows), offset, limit, count)

    async def count_runs(self, tenant_id: TenantId, where: RunFilter, only_tasks: bool = False) -> int:
        if where.nothing:
            return 0
        if only_tasks:
            return await self._reads.count_tasks(tenant_id, _criteria(where))
        return await self._reads.count_runs(tenant_id, _criteria(where))

    async def list_run_ids(self, tenant_id: TenantId, where: RunFilter) -> list[UUID]:
        return [] if where.nothing else await self._reads.list_run_ids(tenant_id, _criteria(where))

    async def list_tasks_of(self, tenant_id: TenantId, run_ids: Sequence[UUID]) -> dict[UUID, list[TaskView]]:
        found: dict[UUID, list[TaskView]] = {}
        rows = await self._reads.list_run_tasks(tenant_id, run_ids, False)
        for task in await self._present_tasks(tenant_id, rows):
            found.setdefault(task.run_id, []).append(task)
        return found

    async def count_by_status(self, tenant_id: TenantId, where: RunFilter) -> list[StateCount]:
        counts = dict.fromkeys(RunStatus, 0)
        if not where.nothing:
            for state, count in await self._reads.count_states(tenant_id, _criteria(where)):
                counts[status_of(state)] += count
        return [StateCount(status, count) for status, count in counts.items()]

    async def _row(self, tenant_id: TenantId, task_id: UUID) -> TaskRow | None:
        row = await self._reads.get_task(tenant_id, task_id)
        return None if row is None or self._hidden(row.facts.run_id) else row

    def _hidden(self, run_id: UUID) -> bool:
        """Whether sampling leaves the run out."""
        below = self._reads.kept_below
        return below is not None and not kept(run_id, below)

    async def get_run(self, tenant_id: TenantId, run_id: UUID, *, always: bool = False) -> RunView | None:
        if not always and self._hidden(run_id):
            return None
        row = await self._reads.get_task(tenant_id, run_id)
        if row is None:
            return await self._get_dag(tenant_id, run_id)
        if row.facts.run_id != row.facts.id:
            return None
        found = await self._definitions.load(tenant_id, (row.facts.version_id,))
        definition = definition_of(found, row.facts.version_id)
        step = step_of(definition, row.facts.step_id)
        history = await self._reads.get_history(tenant_id, row.facts.id)
        task = present_task(row, definition)
        return RunView(
            run=task,
            tasks=(task,),
            shape=(ShapeItem(task.id, step.id, (), step.name),),
            timeline=tuple(reversed(build_timeline(row, history, task.display_name))),
            definition=definition,
        )

    async def _get_dag(self, tenant_id: TenantId, run_id: UUID) -> RunView | None:
        """A run of several tasks."""
        run = await self._reads.get_run(tenant_id, run_id)
        if run is None:
            return None
        rows = await self._reads.list_run_tasks(tenant_id, [run_id], True)
        facts = run.facts
        found = await self._definitions.load(tenant_id, (facts.version_id,))
        definition = definition_of(found, facts.version_id)
        views = [present_task(_with_input(row, facts.input), definition) for row in rows]
        histories = await self._reads.get_histories(tenant_id, [row.facts.id for row in rows])
        timelines = [
            build_timeline(row, histories.get(row.facts.id, TaskHistory()), view.display_name)
            for row, view in zip(rows, views, strict=True)
        ]
        return RunView(
            run=present_run(run, views, definition),
            tasks=tuple(views),
            shape=tuple(_shape(facts.id, definition)),
            timeline=tuple(reversed(merge_timelines(timelines))),
            definition=definition,
        )

    async def get_run_status(self, tenant_id: TenantId, run_id: UUID) -> RunStatus | None:
        row = await self._row(tenant_id, run_id)
        if row is None:
            run = None if self._hidden(run_id) else await self._reads.get_run(tenant_id, run_id)
            if run is None:
                return None
            return RunStatus.RUNNING if run.end is None else status_of(run.end.state)
        return status_of(row.status.state) if row.unassigned is None else RunStatus.FAILED

    async def get_run_timings(self, tenant_id: TenantId, run_id: UUID, depth: int) -> list[TimingView] | None:
        if self._hidden(run_id):
            return None
        row = await self._row(tenant_id, run_id)
        level = [row] if row is not None else await self._reads.list_run_tasks(tenant_id, [run_id], False)
        if not level and await self._reads.get_run(tenant_id, run_id) is None:
            return None
        found: list[TimingView] = []
        for step in range(min(depth, MAX_DEPTH) + 1):
            found += [TimingView(task, step) for task in await self._present_tasks(tenant_id, level)]
            if step == depth or not level:
                break
            parents = [parent.facts.id for parent in level]
            level = await self._reads.list_children(tenant_id, parents)
        return found

    async def get_task(
        self, tenant_id: TenantId, task_id: UUID, attempt: int | None = None
    ) -> TaskView | None:
        row = await self._row(tenant_id, task_id)
        if row is None:
            return None
        task = (await self._present_tasks(tenant_id, [row]))[0]
        if attempt is None or attempt == task.attempt:
            return task
        history = await self._reads.get_history(tenant_id, task.id)
        for record in history.attempts:
            if record.attempt == attempt:
                return present_attempt(task, record)
        return None

    async def get_timeline(self, tenant_id: TenantId, task_id: UUID) -> list[TimelineEntry] | None:
        row = await self._row(tenant_id, task_id)
        if row is None:
            run = None if self._hidden(task_id) else await self._get_dag(tenant_id, task_id)
            return None if run is None else list(run.timeline)
        task = (await self._present_tasks(tenant_id, [row]))[0]
        history = await self._reads.get_history(tenant_id, task.id)
        return build_timeline(row, history, task.display_name)[::-1]

    async def get_display_names(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[NamedRun]:
        labels = await self._reads.get_labels(tenant_id, ids)
        found = await self._definitions.load(tenant_id, (label.version_id for label in labels))
        named = []
        for label in labels:
            definition = definition_of(found, label.version_id)
            name = definition.name if label.step_id is None else step_of(definition, label.step_id).name
            named.append(NamedRun(label.id, display_name(name, label.created_at), label.created_at))
        return named

    async def list_log_lines(
        self, tenant_id: TenantId, task_id: UUID, where: LogCriteria, offset: int, limit: int
    ) -> list[LogView] | None:
        names = await self.get_display_names(tenant_id, (task_id,))
        if not names:
            return None
        lines = await self._reads.list_log_lines(tenant_id, task_id, where, offset, limit)
        return [
            LogView(
                task_id=line.task_id,
                task_name=names[0].display_name,
                attempt=line.attempt,
                at=line.created_at,
                level=line.level,
                message=line.message,
                metadata=line.metadata,
            )
            for line in lines
        ]

    async def _present(self, tenant_id: TenantId, rows: Sequence[TaskRow | RunRow]) -> list[TaskView]:
        runs = [row.facts.id for row in rows if isinstance(row, RunRow)]
        tasks = await self.list_tasks_of(tenant_id, runs) if runs else {}
        found = await self._definitions.load(tenant_id, (row.facts.version_id for row in rows))
        views = []
        for row in rows:
            definition = definition_of(found, row.facts.version_id)
            if isinstance(row, RunRow):
                views.append(present_run(row, tasks.get(row.facts.id, []), definition))
            else:
                views.append(present_task(row, definition))
        return views

    async def _present_tasks(self, tenant_id: TenantId, rows: Sequence[TaskRow]) -> list[TaskView]:
        found = await self._definitions.load(tenant_id, (row.facts.version_id for row in rows))
        return [present_task(row, definition_of(found, row.facts.version_id)) for row in rows]


def _with_input(row: TaskRow, text: bytes) -> TaskRow:
    return replace(row, facts=replace(row.facts, input=text))


def _shape(run_id: UUID, definition: WorkflowDefinition) -> Iterator[ShapeItem]:
    """Every step's place in the graph; one without a task yet has the id that its task will have."""
    steps = [*definition.steps, *((definition.on_failure,) if definition.on_failure is not None else ())]
    children: dict[str, list[UUID]] = {step.name: [] for step in steps}
    for step in steps:
        for parent in parents_of(step):
            if parent in children:
                children[parent].append(step.id)
    for step in steps:
        yield ShapeItem(task_id_of(run_id, step.id), step.id, tuple(children[step.name]), step.name)


def _criteria(where: RunFilter) -> TaskCriteria:
    return TaskCriteria(
        since=where.since,
        until=where.until,
        states=states_of(where.statuses),
        workflow_ids=where.workflow_ids,
        worker_id=where.worker_id,
        metadata=where.metadata,
        match_all=where.match_all,
        parent_task_id=where.parent_task_id,
        event_id=where.event_id,
    )
