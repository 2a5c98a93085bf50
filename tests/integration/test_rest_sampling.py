"""A run that sampling leaves out has no history that can be read; nothing else changes for it."""

from datetime import timedelta
from uuid import UUID

from rows import TENANT, completed, ids, new_task, now
from test_rest_reads import DEFINITION, STEP_ID

from broadaxe.clock import SystemClock
from broadaxe.domain.sampling import SCALE, kept, threshold
from broadaxe.domain.task import TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.store.event_ledger import EventLink, NewEvent
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.views.api import RunFilter
from broadaxe.views.store_views import StoreViews


async def test_runs_that_sampling_leaves_out_are_not_read(ledger: PostgresLedger) -> None:
    version = await ledger.put_workflow(TENANT, DEFINITION)
    places = {"workflow_id": version.workflow_id, "version_id": version.version_id, "step_id": STEP_ID}
    tasks = [new_task(state=TaskState.ASSIGNED, **places) for _ in range(60)]
    event = UserEvent(TENANT, ids.uuid7(), "k", b"{}", b"{}", now())
    links = [EventLink(task.facts.run_id, None) for task in tasks]
    await ledger.create_tasks(tasks, patience=30, event=NewEvent(event, bytes(25), links))
    for task in tasks:
        await ledger.write_task(completed(task))
    below = threshold(0.5)
    views = StoreViews(PostgresReads(ledger.database, below), SystemClock())
    wanted = {task.facts.run_id for task in tasks if kept(task.facts.run_id, below)}
    assert 0 < len(wanted) < 60
    where = RunFilter(since=now() - timedelta(hours=1))
    page = await views.list_runs(TENANT, where, 0, 100)
    assert {row.run_id for row in page.rows} == wanted
    assert await views.count_runs(TENANT, where) == len(wanted)
    assert set(await views.list_run_ids(TENANT, where)) == wanted
    assert sum(one.count for one in await views.count_by_status(TENANT, where)) == len(wanted)
    found = await views.get_event(TENANT, event.id)
    assert found is not None
    assert {run.run_id for run in found.runs} == wanted
    for task in tasks:
        run: UUID = task.facts.run_id
        there = run in wanted
        assert (await views.get_run(TENANT, run) is not None) is there
        assert (await views.get_task(TENANT, run) is not None) is there
        assert (await views.get_run_status(TENANT, run) is not None) is there
        assert (await views.get_timeline(TENANT, run) is not None) is there
        assert bool(await views.get_display_names(TENANT, [run])) is there
        assert await views.get_run(TENANT, run, always=True) is not None
    everything = StoreViews(PostgresReads(ledger.database), SystemClock())
    assert await everything.count_runs(TENANT, where) == 60


def test_the_rate_is_a_share_of_all_ids() -> None:
    assert (threshold(0), threshold(1), threshold(0.25)) == (0, SCALE, SCALE // 4)
    runs = [ids.uuid7() for _ in range(4_000)]
    assert not any(kept(run, threshold(0)) for run in runs)
    assert all(kept(run, threshold(1)) for run in runs)
    share = sum(kept(run, threshold(0.25)) for run in runs) / len(runs)
    assert 0.2 < share < 0.3
