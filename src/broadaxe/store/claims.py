"""What tasks claim as they are created: a due time, a place among siblings, an idempotency key."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from broadaxe.domain.idempotency import winners
from broadaxe.domain.schedule import SkipReason
from broadaxe.store.event_ledger import KeyHolder
from broadaxe.store.ledger import NewTask
from broadaxe.store.pending import Pending
from broadaxe.store.rows import columns_of, fire_row, scheduled_row, skip_row
from broadaxe.store.run_ledger import NewRun
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.store.statements import statement
from broadaxe.store.transaction import Transaction

ClaimKey = tuple[UUID, UUID, str]
TenantKey = tuple[UUID, str]


class Claims:
    """Takes and frees them inside an open transaction. `rows` counts what was written."""

    def __init__(self, transaction: Transaction, now: Callable[[], datetime]) -> None:
        self._transaction = transaction
        self._now = now
        self.rows = 0

    async def take(self, ops: Sequence[Pending], tasks: Sequence[NewTask | NewRun]) -> dict[UUID, UUID]:
        """All that the `tasks` claim; what lost a claim, by run id, with the run that holds it."""
        skips = [skip for op in ops for skip in op.skips]
        holders: dict[UUID, UUID] = {}
        if skips or any(task.fire for task in tasks):
            holders = await self._fire([task for task in tasks if task.fire is not None], skips)
        claiming = [task for task in tasks if task.claim and task.facts.run_id not in holders]
        if claiming:
            holders |= await self._claim(claiming)
        if any(task.key for task in tasks):
            holders |= await self._claim_keys(ops, holders)
        return holders

    async def _fire(self, tasks: Sequence[NewTask | NewRun], skips: Sequence[SkipRecord]) -> dict[UUID, UUID]:
        """Takes due times and notes the skipped; what was not to be had, by run id, answered with nobody."""
        taken: set[UUID] = set()
        for cron, name, width in ((True, "fire_claim_batch", 6), (False, "scheduled_claim_batch", 5)):
            rows = [fire_row(task) for task in tasks if task.fire is not None and task.fire.cron is cron]
            rows += [skip_row(skip) for skip in skips if skip.cron is cron]
            if not rows:
                continue
            # In the order of their keys, so that two processes never wait for each other in a circle.
            rows.sort(key=lambda row: row[:3])
            columns = columns_of(rows if cron else [scheduled_row(row) for row in rows], width)
            found = await self._transaction.fetch(
                statement(name),
                *columns,
                *(() if cron else (self._now(),)),
                batch=len(rows),
            )
            self.rows += len(found)
            taken |= {record[0] for record in found}
        return {task.facts.run_id: NOBODY for task in tasks if task.facts.run_id not in taken}

    async def _claim(self, tasks: Sequence[NewTask | NewRun]) -> dict[UUID, UUID]:
        """Takes the keys; those of `tasks` that lost theirs, by run id, with the run that holds it."""
        first: dict[ClaimKey, UUID] = {}
        wanted: dict[UUID, ClaimKey] = {}
        for task in tasks:
            if task.claim is not None:
                key = (task.facts.tenant_id, task.claim.parent_task_id, task.claim.key)
                wanted[task.facts.run_id] = key
                first.setdefault(key, task.facts.run_id)
        # In the order of their keys, so that two processes never wait for each other in a circle.
        rows = [(*key, first[key]) for key in sorted(first)]
        columns = columns_of(rows, 4)
        taken = await self._transaction.fetch(statement("child_claim_batch"), *columns, batch=len(rows))
        self.rows += len(taken)
        free = {record[0] for record in taken}
        lost = [key for key, run in first.items() if run not in free]
        if lost:
            found = await self._transaction.fetch(
                statement("child_claim_holders"), *columns_of(lost, 3), batch=len(lost)
            )
            for record in found:
                first[lost[record[0] - 1]] = record[1]
        return {run: first[key] for run, key in wanted.items() if first[key] != run}

    async def _claim_keys(self, ops: Sequence[Pending], holders: Mapping[UUID, UUID]) -> dict[UUID, UUID]:
        """Takes idempotency keys; the tasks that lost theirs, by run id, with the run that holds it."""
        first: dict[TenantKey, NewTask | NewRun] = {}
        wanted: dict[UUID, TenantKey] = {}
        for op in ops:
            asking: dict[UUID, NewTask | NewRun] = {
                t.facts.run_id: t for t in op.tasks if t.key and t.facts.run_id not in holders
            }
            for task in asking.values():
                assert task.key is not None
                wanted[task.facts.run_id] = (task.facts.tenant_id, task.key.key)
            best = winners((t.key.key, t.key.expires_at, run) for run, t in asking.items() if t.key)
            for run_id in best.values():
                first.setdefault(wanted[run_id], asking[run_id])
        if not first:
            return {}
        owners = await self._owners(first)
        refused: dict[UUID, UUID] = {
            run: KeyHolder(int=owners[key].int) for run, key in wanted.items() if owners[key] != run
        }
        losers = [task for op in ops for task in op.tasks if task.facts.run_id in refused]
        await self._withdraw(losers)
        await self._unfire(losers)
        return refused

    async def _owners(self, first: Mapping[TenantKey, NewTask | NewRun]) -> dict[TenantKey, UUID]:
        """Whose each key is now."""
        owners: dict[TenantKey, UUID] = {}
        left = dict(first)
        while left:
            taken = await self._take_keys(left)
            owners |= {key: task.facts.run_id for key, task in left.items() if task.facts.run_id in taken}
            lost = [key for key in left if key not in owners]
            if not lost:
                break
            found = await self._transaction.fetch(
                statement("key_holders"), *columns_of(lost, 2), batch=len(lost)
            )
            owners |= {lost[record[0] - 1]: record[1] for record in found}
            # A key that another process freed in between is taken after all.
            left = {key: left[key] for key in lost if key not in owners}
        return owners

    async def _take_keys(self, first: Mapping[TenantKey, NewTask | NewRun]) -> set[UUID]:
        rows = []
        latest = datetime.min.replace(tzinfo=UTC)
        # In the order of their keys, so that two processes never wait for each other in a circle.
        for key in sorted(first):
            facts, claim = first[key].facts, first[key].key
            assert claim is not None
            latest = max(latest, facts.created_at)
            rows.append((*key, facts.run_id, claim.expires_at, claim.until_end))
        taken = await self._transaction.fetch(
            statement("key_claim_batch"), *columns_of(rows, 5), latest, batch=len(rows)
        )
        self.rows += len(taken)
        return {record[0] for record in taken}

    async def _withdraw(self, tasks: Sequence[NewTask | NewRun]) -> None:
        """A child that lost its idempotency key gives its place among its parent's children back."""
        rows = [
            (task.facts.tenant_id, task.claim.parent_task_id, task.claim.key, task.facts.run_id)
            for task in tasks
            if task.claim is not None
        ]
        if rows:
            await self._transaction.fetch(
                statement("child_claim_withdraw"), *columns_of(rows, 4), batch=len(rows)
            )

    async def _unfire(self, tasks: Sequence[NewTask | NewRun]) -> None:
        """A due time whose run lost its idempotency key has no run after all."""
        for cron, name in ((True, "fire_withdraw"), (False, "scheduled_withdraw")):
            rows = [
                (task.facts.tenant_id, task.fire.source_id, task.facts.run_id)
                for task in tasks
                if task.fire is not None and task.fire.cron is cron
            ]
            if rows:
                await self._transaction.fetch(statement(name), *columns_of(rows, 3), SkipReason.KEY_HELD)

    async def free_keys(self, runs: Sequence[UUID]) -> None:
        """Let go of the idempotency keys of runs that are over."""
        if runs:
            await self._transaction.fetch(statement("key_release_batch"), list(runs), batch=len(runs))
