"""Creating and changing tasks through the ledger."""

from rows import TENANT, completed, new_task

from broadaxe.domain.task import TaskState
from broadaxe.store.ledger import NewTask, StoredTask
from broadaxe.store.postgres_ledger import PostgresLedger


async def test_create_tasks_stored_reads_back_equal(ledger: PostgresLedger) -> None:
    tasks = [new_task(state=TaskState.ASSIGNED) for _ in range(3)]
    runs = await ledger.create_tasks(tasks, patience=1)
    assert runs == [task.facts.run_id for task in tasks]
    for task in tasks:
        assert await ledger.get_task(TENANT, task.facts.id) == StoredTask(task.facts, task.status)


async def test_load_live_tasks_final_left_out_oldest_first(ledger: PostgresLedger) -> None:
    tasks: list[NewTask] = [new_task(state=TaskState.ASSIGNED) for _ in range(5)]
    await ledger.create_tasks(tasks, patience=1)
    assert await ledger.write_task(completed(tasks[2]))
    live = [task async for page in ledger.load_live_tasks() for task in page]
    assert [task.facts.id for task in live] == [tasks[i].facts.id for i in (0, 1, 3, 4)]
