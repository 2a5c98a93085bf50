"""The read side on PostgreSQL: the `Reads` contract over the pool. Statements are in `sql/views_*.sql`."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import RunEnd, RunFacts
from broadaxe.domain.sampling import kept
from broadaxe.domain.task import (
    AttemptOutcome,
    AttemptRecord,
    Note,
    NoteKind,
    TaskState,
    TaskStatus,
)
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.connection import Database
from broadaxe.store.derived import from_row
from broadaxe.store.event_reads import PostgresEventReads
from broadaxe.store.ledger import LogLine, WorkerRow
from broadaxe.store.reads import (
    HeldSlots,
    LiveCount,
    LogCriteria,
    RunRow,
    TaskCriteria,
    TaskHistory,
    TaskLabel,
    TaskRow,
    TenantRow,
    WorkflowRow,
)
from broadaxe.store.rows import FACT_COLUMNS, facts_of, id_floor, id_range, id_time, version_of, worker_of
from broadaxe.store.schedule_reads import PostgresScheduleReads
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement
from broadaxe.store.statistics_reads import PostgresStatisticsReads

CHILDREN_LIMIT = 10_000
WORKERS_LIMIT = 10_000

_STATUS_COLUMNS = 32
_INPUT_COLUMN = 8
_LAST_ID = UUID(int=(1 << 128) - 1)
_SLACK = timedelta(hours=1)
"""How far the clocks that made a parent's and a child's id may lie apart."""


class PostgresReads(PostgresScheduleReads, PostgresStatisticsReads, PostgresEventReads):
    """See `broadaxe.store.reads.Reads` for what each query answers."""

    def __init__(self, database: Database, kept_below: int | None = None) -> None:
        """`kept_below`: the threshold (see `domain.sampling`) under which runs can be read; None = all."""
        super().__init__(database)
        self.kept_below = kept_below
        self._db = database

    # -- tasks -----------------------------------------------------------------------------------------

    async def list_tasks(
        self, tenant_id: TenantId, where: TaskCriteria, offset: int, limit: int, payload_bytes: int
    ) -> list[TaskRow]:
        rows = await self._db.fetch(
            statement("view_task_page"),
            *_arguments(tenant_id, where),
            self.kept_below,
            limit,
            offset,
            payload_bytes,
        )
        _check_payloads(rows, payload_bytes)
        return [_task(row) for row in rows]

    async def list_runs(
        self, tenant_id: TenantId, where: TaskCriteria, offset: int, limit: int, payload_bytes: int
    ) -> list[TaskRow | RunRow]:
        rows = await self._db.fetch(
            statement("view_run_page"),
            *_arguments(tenant_id, where),
            self.kept_below,
            limit,
            offset,
            payload_bytes,
        )
        _check_payloads(rows, payload_bytes)
        return [_task(row) if row["step_id"] is not None else _run(row) for row in rows]

    async def count_runs(self, tenant_id: TenantId, where: TaskCriteria) -> int:
        rows = await self._db.fetch(
            statement("view_run_count"), *_arguments(tenant_id, where), self.kept_below
        )
        return int(rows[0][0])

    async def list_run_ids(self, tenant_id: TenantId, where: TaskCriteria) -> list[UUID]:
        rows = await self._db.fetch(statement("view_run_ids"), *_arguments(tenant_id, where), self.kept_below)
        return [row[0] for row in rows]

    async def get_run(self, tenant_id: TenantId, run_id: UUID) -> RunRow | None:
        rows = await self._db.fetch(statement("view_run_get"), tenant_id, run_id, _next(run_id))
        return _run(rows[0]) if rows else None

    async def list_run_tasks(
        self, tenant_id: TenantId, run_ids: Sequence[UUID], outputs: bool
    ) -> list[TaskRow]:
        if not run_ids:
            return []
        rows = await self._db.fetch(
            statement("view_run_tasks"), tenant_id, *id_range(run_ids), list(run_ids), outputs, CHILDREN_LIMIT
        )
        return [_task(row) for row in rows]

    async def get_histories(self, tenant_id: TenantId, task_ids: Sequence[UUID]) -> dict[UUID, TaskHistory]:
        async def work(session: Session) -> dict[UUID, TaskHistory]:
            ids = list(task_ids)
            attempts: dict[UUID, list[AttemptRecord]] = {}
            notes: dict[UUID, list[Note]] = {}
            for row in await session.fetch(statement("view_attempts_of"), tenant_id, ids, CHILDREN_LIMIT):
                record = AttemptRecord(row[1], AttemptOutcome(row[2]), *tuple(row)[3:])
                attempts.setdefault(row[0], []).append(record)
            for row in await session.fetch(statement("view_notes_of"), tenant_id, ids, CHILDREN_LIMIT):
                note = Note(NoteKind(row[1]), row[2], row[3], row[4].decode(errors="replace"))
                notes.setdefault(row[0], []).append(note)
            return {one: TaskHistory(tuple(attempts.get(one, ())), tuple(notes.get(one, ()))) for one in ids}

        return await self._db.run(work)

    async def count_tasks(self, tenant_id: TenantId, where: TaskCriteria) -> int:
        rows = await self._db.fetch(
            statement("view_task_count"), *_arguments(tenant_id, where), self.kept_below
        )
        return int(rows[0][0])

    async def list_task_ids(self, tenant_id: TenantId, where: TaskCriteria) -> list[UUID]:
        rows = await self._db.fetch(
            statement("view_task_ids"), *_arguments(tenant_id, where), self.kept_below
        )
        return [row[0] for row in rows]

    async def count_states(self, tenant_id: TenantId, where: TaskCriteria) -> list[tuple[TaskState, int]]:
        rows = await self._db.fetch(
            statement("view_task_states"), *_arguments(tenant_id, where), self.kept_below
        )
        return [(TaskState(row[0]), row[1]) for row in rows]

    async def get_task(self, tenant_id: TenantId, task_id: UUID) -> TaskRow | None:
        rows = await self._db.fetch(statement("view_task_get"), tenant_id, task_id, _next(task_id))
        return _task(rows[0]) if rows else None

    async def get_history(self, tenant_id: TenantId, task_id: UUID) -> TaskHistory:
        async def work(session: Session) -> TaskHistory:
            attempts = await session.fetch(statement("view_attempts"), tenant_id, task_id)
            notes = await session.fetch(statement("view_notes"), tenant_id, task_id)
            return TaskHistory(
                tuple(AttemptRecord(row[0], AttemptOutcome(row[1]), *tuple(row)[2:]) for row in attempts),
                tuple(
                    Note(NoteKind(row[0]), row[1], row[2], row[3].decode(errors="replace")) for row in notes
                ),
            )

        return await self._db.run(work)

    async def list_children(self, tenant_id: TenantId, parents: Sequence[UUID]) -> list[TaskRow]:
        if not parents:
            return []
        lowest = id_floor(id_time(min(parents)) - _SLACK)
        rows = await self._db.fetch(
            statement("view_task_children"), tenant_id, lowest, _LAST_ID, list(parents), CHILDREN_LIMIT
        )
        found = [_task(row) for row in rows]
        below = self.kept_below
        return found if below is None else [row for row in found if kept(row.facts.run_id, below)]

    async def get_labels(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[TaskLabel]:
        rows = await self._db.fetch(statement("view_task_labels"), tenant_id, list(ids), self.kept_below)
        return [TaskLabel(*row) for row in rows]

    async def list_log_lines(
        self, tenant_id: TenantId, task_id: UUID, where: LogCriteria, offset: int, limit: int
    ) -> list[LogLine]:
        wanted = statement("view_logs_newest" if where.newest_first else "view_logs_oldest")
        levels = list(where.levels) or None
        rows = await self._db.fetch(
            wanted, tenant_id, task_id, where.since, where.until, levels, where.attempt, where.search,
            limit, offset,
        )  # fmt: skip
        return [_log_line(row) for row in rows]

    async def count_live(self, tenant_id: TenantId) -> list[LiveCount]:
        rows = await self._db.fetch(statement("view_task_live"), tenant_id)
        return [LiveCount(row[0], row[1], TaskState(row[2]), row[3], row[4], row[5]) for row in rows]

    # -- workflows -------------------------------------------------------------------------------------

    async def list_workflows(
        self, tenant_id: TenantId, name: str | None, offset: int, limit: int
    ) -> list[WorkflowRow]:
        rows = await self._db.fetch(statement("view_workflow_page"), tenant_id, name, limit, offset)
        return [_workflow(tenant_id, row) for row in rows]

    async def count_workflows(self, tenant_id: TenantId, name: str | None) -> int:
        rows = await self._db.fetch(statement("view_workflow_count"), tenant_id, name)
        return int(rows[0][0])

    async def get_workflow(self, tenant_id: TenantId, workflow_id: UUID) -> WorkflowRow | None:
        rows = await self._db.fetch(statement("view_workflow_get"), tenant_id, workflow_id)
        return _workflow(tenant_id, rows[0]) if rows else None

    async def list_versions(
        self, tenant_id: TenantId, workflow_id: UUID, limit: int
    ) -> list[WorkflowVersion]:
        rows = await self._db.fetch(statement("view_versions"), tenant_id, workflow_id, limit)
        return [version_of(tenant_id, row) for row in rows]

    async def get_version(
        self, tenant_id: TenantId, workflow_id: UUID, version_id: UUID
    ) -> WorkflowVersion | None:
        rows = await self._db.fetch(statement("view_version_of"), tenant_id, workflow_id, version_id)
        return version_of(tenant_id, rows[0]) if rows else None

    async def get_versions(self, tenant_id: TenantId, version_ids: Sequence[UUID]) -> list[WorkflowVersion]:
        rows = await self._db.fetch(statement("view_versions_by_id"), tenant_id, list(version_ids))
        return [version_of(tenant_id, row) for row in rows]

    # -- workers and tenants ---------------------------------------------------------------------------

    async def list_workers(self, tenant_id: TenantId) -> list[WorkerRow]:
        rows = await self._db.fetch(statement("view_workers"), tenant_id, WORKERS_LIMIT)
        return [worker_of(row) for row in rows]

    async def get_worker(self, tenant_id: TenantId, worker_id: UUID) -> WorkerRow | None:
        rows = await self._db.fetch(statement("view_worker"), tenant_id, worker_id)
        return worker_of(rows[0]) if rows else None

    async def count_held_slots(self, tenant_id: TenantId, worker_ids: Sequence[UUID]) -> list[HeldSlots]:
        rows = await self._db.fetch(statement("view_held_slots"), tenant_id, list(worker_ids))
        return [HeldSlots(*row) for row in rows]

    async def get_tenant(self, tenant_id: TenantId) -> TenantRow | None:
        rows = await self._db.fetch(statement("view_tenant"), tenant_id)
        return TenantRow(*rows[0]) if rows else None


def _arguments(tenant_id: TenantId, where: TaskCriteria) -> tuple[object, ...]:
    """The parameters of the `matches` fragment."""
    pairs = where.metadata
    return (
        tenant_id,
        id_floor(where.since),
        _LAST_ID if where.until is None else id_floor(where.until),
        [int(state) for state in where.states] or None,
        list(where.workflow_ids) or None,
        where.worker_id,
        where.parent_task_id,
        [key for key, _ in pairs] or None,
        [value for _, value in pairs] or None,
        len(pairs) if where.match_all else 1,
        where.event_id,
    )


def _check_payloads(rows: Sequence[Record], payload_bytes: int) -> None:
    if payload_bytes and rows and rows[0][-1] > payload_bytes:
        raise InvalidArgument(
            f"limit: the payloads of these {len(rows)} rows are more than {payload_bytes} bytes; "
            "ask for fewer rows or leave the payloads out"
        )


def _run(record: Record) -> RunRow:
    metadata, trace = from_row(record["metadata"], record["trace"], record["id"])
    facts = RunFacts(
        tenant_id=record["tenant_id"],
        id=record["id"],
        workflow_id=record["workflow_id"],
        version_id=record["version_id"],
        priority=record["priority"],
        created_at=record["created_at"],
        input=record[_INPUT_COLUMN],
        metadata=metadata,
        trace=trace,
        parent_task_id=record["parent_task_id"],
        parent_run_id=record["parent_run_id"],
        child_index=record["child_index"],
        child_key=record["child_key"],
        desired_worker_id=record["desired_worker_id"],
        desired_labels=record["desired_labels"],
    )
    ended_at = record["finished_at"]
    end = None if ended_at is None else RunEnd(TaskState(record["state"]), ended_at)
    return RunRow(facts, end)


def _next(task_id: UUID) -> UUID:
    return UUID(int=min(task_id.int + 1, _LAST_ID.int))


def _task(record: Record) -> TaskRow:
    values = tuple(record)
    facts = facts_of(values)
    status = TaskStatus(TaskState(values[FACT_COLUMNS]), *values[FACT_COLUMNS + 1 : _STATUS_COLUMNS])
    note, children = values[_STATUS_COLUMNS], values[_STATUS_COLUMNS + 1]
    return TaskRow(facts, status, None if note is None else note.decode(errors="replace"), children)


def _log_line(record: Record) -> LogLine:
    tenant_id, task_id, attempt, at, level, message, metadata = record
    return LogLine(tenant_id, task_id, attempt, at, level, message.decode(errors="replace"), metadata)


def _workflow(tenant_id: TenantId, record: Record) -> WorkflowRow:
    return WorkflowRow(
        id=record["found_id"],
        name=record["name"],
        created_at=record["found_at"],
        newest=version_of(tenant_id, record),
        paused=record["paused"],
    )
