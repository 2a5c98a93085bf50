"""Workflows of several steps on the bench."""

from typing import Any
from uuid import UUID

from broadaxe.domain.run import task_id_of
from broadaxe.domain.workflow import Condition, StepDefinition, WorkflowDefinition
from broadaxe.engine.api import EventKind, Origin

from .harness import TENANT, Bench, FakeWorker

NO_ID = UUID(int=3)


def step(name: str, *parents: str, **fields: Any) -> StepDefinition:
    return StepDefinition(id=NO_ID, name=name, action=f"flow:{name}", slots={}, parents=parents, **fields)


def on_parent(parent: str, action: int, expression: str = "", group: str = "") -> Condition:
    return Condition("parent", f"{parent}:{expression}", action, group, expression, parent=parent)


def sleep(seconds: int, action: int = 1, group: str = "", key: str = "") -> Condition:
    text = f"{seconds}s"
    return Condition("sleep", key or f"sleep:{text}", action, group, "", sleep_for=text)


def event(key: str, action: int = 1, group: str = "", expression: str = "", **fields: Any) -> Condition:
    return Condition("event", key, action, group, expression, event_key=key, **fields)


class Dag:
    """A workflow, a worker that has all its actions, and one run."""

    def __init__(self, bench: Bench, worker: FakeWorker, definition: WorkflowDefinition) -> None:
        self.bench = bench
        self.worker = worker
        self.definition = definition
        self.run_id = UUID(int=0)

    async def start(self, input: Any = None, **fields: Any) -> UUID:
        self.run_id = await self.bench.trigger(input, **fields)
        return self.run_id

    def id(self, name: str) -> UUID:
        stored = next(iter(self.bench.tables.newest.values())).definition
        steps = [*stored.steps, *([stored.on_failure] if stored.on_failure else [])]
        return task_id_of(self.run_id, next(one.id for one in steps if one.name == name))

    def started(self) -> list[str]:
        """Names of the steps that the worker was sent, in order."""
        return [action.step_name for action in self.worker.starts if action.run_id == self.run_id]

    def payload(self, name: str) -> bytes:
        return next(action.payload for action in reversed(self.worker.starts) if action.step_name == name)

    async def complete(self, name: str, output: bytes = b"{}") -> None:
        await self.bench.report(EventKind.COMPLETED, self.id(name), output)

    async def fail(self, name: str, error: bytes = b"it broke") -> None:
        await self.bench.report(EventKind.FAILED, self.id(name), error, should_not_retry=True)

    def states(self) -> dict[str, str]:
        """What each step's task is, by name; steps without a task are left out."""
        found = {}
        stored = next(iter(self.bench.tables.newest.values())).definition
        for one in (*stored.steps, *([stored.on_failure] if stored.on_failure else [])):
            row = self.bench.tables.tasks.get(task_id_of(self.run_id, one.id))
            if row is not None:
                skipped = row.status.output == b'{"skipped":true}'
                found[one.name] = "SKIPPED" if skipped else row.status.state.name
        return found

    def end(self) -> str | None:
        end = self.bench.tables.runs[self.run_id].end
        return None if end is None else end.state.name


async def make_dag(bench: Bench, *steps: StepDefinition, slots: int = 100, **fields: Any) -> Dag:
    definition = WorkflowDefinition(name="flow", steps=steps, **fields)
    await bench.engine.put_workflow(TENANT, definition, Origin())
    names = [one.name for one in steps]
    if definition.on_failure is not None:
        names.append(definition.on_failure.name)
    worker = await bench.worker(slots, actions=tuple(f"flow:{name}" for name in names))
    return Dag(bench, worker, definition)
