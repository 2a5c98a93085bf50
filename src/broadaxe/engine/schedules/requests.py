"""What people and programs ask about crons, planned runs and pauses: checked here, then written.

It needs the ledger only, so that an API process without an engine serves it too; `Announce` tells the owner.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from broadaxe.clock import Clock, Ids
from broadaxe.domain.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from broadaxe.domain.ids import TenantId
from broadaxe.domain.metadata import read_traceparent, require_metadata
from broadaxe.domain.payloads import require_object
from broadaxe.domain.schedule import Pause
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.engine.origin import Origin
from broadaxe.engine.schedules.calendar import expression_problem
from broadaxe.engine.schedules.limits import ScheduleLimits
from broadaxe.store.ledger import Ledger
from broadaxe.store.schedule_ledger import NewCron, NewScheduled
from broadaxe.telemetry.context import TraceContext, parse_traceparent
from broadaxe.telemetry.tracer import current_span

PRIORITIES = range(1, 4)
_NAME_LIMIT = 256
_KEY_LIMIT = 1_024
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Changed:
    """What the owner reads again: the crons of a workflow, some planned runs, how a workflow is paused."""

    crons_of: UUID | None = None
    scheduled: tuple[UUID, ...] = ()
    pause_of: UUID | None = None
    forget: str | None = None
    """A workflow that was deleted."""


Announce = Callable[[TenantId, Changed], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CronRequest:
    """A cron to be made."""

    workflow: str
    expression: str
    name: str
    input: bytes
    metadata: bytes
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """Runs to be planned. Only those of a task have a parent."""

    workflow: str
    times: tuple[datetime, ...]
    input: bytes
    metadata: bytes
    priority: int | None = None
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    child_index: int | None = None
    child_key: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """What was planned: ids and times in the order of the request, and the workflow's version at that moment.

    The runs take the version that is the newest when they start.
    """

    version: WorkflowVersion
    runs: tuple[tuple[UUID, datetime], ...]


class ScheduleRequests:
    """InvalidArgument, NotFound, AlreadyExists and ResourceExhausted name what is wrong."""

    def __init__(
        self, ledger: Ledger, clock: Clock, ids: Ids, limits: ScheduleLimits, announce: Announce
    ) -> None:
        self._ledger = ledger
        self._schedules = ledger.schedules
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._announce = announce

    # -- crons -----------------------------------------------------------------------------------------

    async def create_cron(self, tenant_id: TenantId, request: CronRequest, origin: Origin) -> UUID:
        """Make a named cron; its id."""
        problem = expression_problem(request.expression)
        if problem is not None:
            raise InvalidArgument(f"cronExpression: {problem}")
        if not request.name or len(request.name) > _NAME_LIMIT or "\x00" in request.name:
            raise InvalidArgument(f"cronName: must have 1 to {_NAME_LIMIT} characters, without U+0000")
        self._check(request.input, request.metadata, request.priority)
        version = await self._ledger.latest_version(tenant_id, request.workflow)
        if version is None:
            raise NotFound(f"workflow not found: {request.workflow}")
        if await self._schedules.count_crons(tenant_id) >= self._limits.crons:
            raise ResourceExhausted(f"the tenant has {self._limits.crons} crons; its limit is reached")
        cron = NewCron(
            id=self._ids.uuid7(),
            workflow=request.workflow,
            expression=request.expression,
            name=request.name,
            priority=request.priority,
            input=request.input,
            metadata=request.metadata or b"{}",
            trace=_asked(request.metadata, origin),
            at=self._clock.now(),
        )
        if not await self._schedules.add_cron(tenant_id, cron):
            raise AlreadyExists("cron trigger with that name-expression pair already exists")
        await self._announce(tenant_id, Changed(crons_of=version.workflow_id))
        return cron.id

    async def enable_cron(self, tenant_id: TenantId, cron_id: UUID, enabled: bool) -> None:
        """Switch a cron on or off."""
        workflow_id = await self._cron(tenant_id, cron_id)
        if await self._schedules.enable_cron(tenant_id, cron_id, enabled, self._clock.now()):
            await self._announce(tenant_id, Changed(crons_of=workflow_id))

    async def delete_cron(self, tenant_id: TenantId, cron_id: UUID) -> None:
        """Delete a cron that was made through the API."""
        workflow_id = await self._cron(tenant_id, cron_id)
        if not await self._schedules.delete_cron(tenant_id, cron_id):
            raise InvalidArgument(
                "cron-workflow: a declared cron goes with its workflow's definition; only crons made "
                "through the API can be deleted"
            )
        await self._announce(tenant_id, Changed(crons_of=workflow_id))

    async def _cron(self, tenant_id: TenantId, cron_id: UUID) -> UUID:
        found = await self._schedules.get_crons([(tenant_id, cron_id)])
        if not found:
            raise NotFound(f"cron {cron_id} not found")
        return found[0].workflow_id

    # -- planned runs ----------------------------------------------------------------------------------

    async def schedule(self, tenant_id: TenantId, request: ScheduleRequest, origin: Origin) -> Planned:
        """Plan runs of one workflow."""
        if not request.times:
            raise InvalidArgument("schedules: at least one time is needed")
        if len(request.times) > self._limits.bulk:
            raise InvalidArgument(f"schedules: at most {self._limits.bulk} in one call")
        for at in request.times:
            _require_time(at)
        if request.parent_run_id is not None and (
            request.parent_task_id is None or request.child_index is None
        ):
            raise InvalidArgument("parent_id: needs parent_task_run_external_id and child_index beside it")
        key = request.child_key
        if key is not None and ("\x00" in key or len(key) > _KEY_LIMIT):
            raise InvalidArgument(f"child_key: at most {_KEY_LIMIT} characters, without U+0000")
        self._check(request.input, request.metadata, request.priority)
        version = await self._ledger.latest_version(tenant_id, request.workflow)
        if version is None:
            raise NotFound(f"workflow not found: {request.workflow}")
        waiting = await self._schedules.count_scheduled(tenant_id)
        if waiting + len(request.times) > self._limits.scheduled:
            raise ResourceExhausted(f"the tenant has {waiting} planned runs; its limit is reached")
        base = request.child_index
        runs = tuple(
            (self._ids.uuid7(), at, None if base is None else base + offset)
            for offset, at in enumerate(request.times)
        )
        new = NewScheduled(
            workflow=request.workflow,
            runs=runs,
            priority=request.priority,
            input=request.input,
            metadata=request.metadata or b"{}",
            trace=_asked(request.metadata, origin),
            at=self._clock.now(),
            parent_run_id=request.parent_run_id,
            parent_task_id=request.parent_task_id,
            child_key=request.child_key,
        )
        if not await self._schedules.add_scheduled(tenant_id, new):
            raise NotFound(f"workflow not found: {request.workflow}")
        await self._announce(tenant_id, Changed(scheduled=tuple(run[0] for run in runs)))
        return Planned(version, tuple((run[0], run[1]) for run in runs))

    async def move(self, tenant_id: TenantId, moves: Sequence[tuple[UUID, datetime]]) -> set[UUID]:
        """Give planned runs another time; the ids of those that still waited."""
        for _, at in moves:
            _require_time(at)
        last = list(dict(moves).items())
        moved = await self._schedules.move_scheduled(tenant_id, last, self._clock.now())
        if moved:
            await self._announce(tenant_id, Changed(scheduled=tuple(moved)))
        return moved

    async def delete_scheduled(self, tenant_id: TenantId, ids: Sequence[UUID]) -> set[UUID]:
        """Delete planned runs; the ids of those that still waited."""
        gone = await self._schedules.delete_scheduled(tenant_id, list(dict.fromkeys(ids)))
        if gone:
            await self._announce(tenant_id, Changed(scheduled=tuple(gone)))
        return gone

    # -- workflows -------------------------------------------------------------------------------------

    async def pause(self, tenant_id: TenantId, workflow_id: UUID, pause: Pause) -> None:
        """Pause a workflow, or change how it is paused."""
        if not await self._schedules.pause_workflow(tenant_id, workflow_id, pause, self._clock.now()):
            raise NotFound(f"workflow {workflow_id} not found")
        await self._announce(tenant_id, Changed(pause_of=workflow_id))

    async def resume(self, tenant_id: TenantId, workflow_id: UUID) -> None:
        """Resume a workflow."""
        if not await self._schedules.resume_workflow(tenant_id, workflow_id, self._clock.now()):
            raise NotFound(f"workflow {workflow_id} not found")
        await self._announce(tenant_id, Changed(pause_of=workflow_id))

    async def delete_workflow(self, tenant_id: TenantId, workflow_id: UUID) -> None:
        """Delete a workflow with its crons and planned runs; its runs stay, and those that live go on."""
        name = await self._schedules.delete_workflow(tenant_id, workflow_id, self._clock.now())
        if name is None:
            raise NotFound(f"workflow {workflow_id} not found")
        await self._announce(tenant_id, Changed(workflow_id, (), workflow_id, name))

    def _check(self, input: bytes, metadata: bytes, priority: int | None) -> None:
        if len(input) > self._limits.payload:
            raise InvalidArgument(f"input: larger than {self._limits.payload} bytes")
        require_object("input", input)
        if len(metadata) > self._limits.metadata:
            raise InvalidArgument(f"additional_metadata: larger than {self._limits.metadata} bytes")
        require_metadata(metadata)
        if priority is not None and priority not in PRIORITIES:
            raise InvalidArgument(f"priority: must be 1, 2 or 3, not {priority}")


def _require_time(at: datetime) -> None:
    if not _EARLIEST <= at < _LATEST:
        raise InvalidArgument("triggerAt: must lie between the years 1970 and 9000")


def asked_in(origin: Origin) -> TraceContext | None:
    """The span of the call, or its caller's where the call itself is not recorded."""
    span = current_span()
    return span.context if span.recording else origin.caller


def _asked(metadata: bytes, origin: Origin) -> TraceContext | None:
    """What the runs link to: the caller's own span if it named one, else the call's."""
    return parse_traceparent(read_traceparent(metadata)) or asked_in(origin)
