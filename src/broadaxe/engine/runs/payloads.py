"""What a step of a run is sent: the run's input, its parents' outputs byte for byte, what met its waits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskState
from broadaxe.engine.dispatch.payload import object_members, start_payload
from broadaxe.engine.runs.live_run import StepEnd
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.store.ledger import Ledger

_NO_OUTPUT = b"{}"
_NO_ERROR = b""


def sleep_data(duration: str) -> bytes:
    """What a step gets for a sleep that is over."""
    return json.dumps({"sleep_duration": duration}).encode()


def step_payload(
    live: LiveTask, input: bytes | None = None, loaded: "Mapping[int, StepEnd] | None" = None
) -> bytes | None:
    """The JSON text of a START; None when memory lacks a part of it.

    `input` and `loaded` are parts that were read from rows.
    """
    run = live.run
    assert run is not None
    own = run.input if input is None else input
    if own is None:
        return None
    graph = run.dag.graph
    parts = _parts(live)
    parents: dict[str, bytes] = {}
    errors: dict[str, bytes] = {}
    for step in parts:
        end = run.ends.get(step)
        if end is not None and not end.kept:
            end = (loaded or {}).get(step)
            if end is None:
                return None
        if end is None:
            continue
        if end.state is TaskState.FAILED:
            errors[run.dag.name(step)] = end.error or _NO_ERROR
        elif end.state is TaskState.COMPLETED and live.plan.index != graph.on_failure:
            parents[run.dag.name(step)] = end.output or _NO_OUTPUT
    triggers = {**object_members(run.facts.triggers), **run.data.get(live.plan.index, {})}
    return start_payload(own, parents, triggers, errors)


async def load_payloads(ledger: Ledger, tenant_id: TenantId, lives: Sequence[LiveTask]) -> dict[UUID, bytes]:
    """START payloads by task, with what memory lacks read from rows. Unknown tasks are left out."""
    alone = [live.id for live in lives if live.run is None]
    found: dict[UUID, bytes] = {}
    if alone:
        inputs = await ledger.load_inputs(tenant_id, alone)
        causes = {live.id: live.facts.triggers for live in lives if live.run is None}
        found = {
            task_id: start_payload(value, triggers=object_members(causes[task_id]))
            for task_id, value in inputs.items()
        }
    steps = [live for live in lives if live.run is not None]
    if not steps:
        return found
    runs = {live.run.id for live in steps if live.run is not None and live.run.input is None}
    run_inputs = await ledger.load_run_inputs(tenant_id, list(runs)) if runs else {}
    parts = {task_id: step for live in steps for step, task_id in missing_parts(live)}
    left = await ledger.load_outputs(tenant_id, list(parts)) if parts else {}
    for live in steps:
        assert live.run is not None
        loaded = {}
        for step, task_id in missing_parts(live):
            if task_id in left:
                output, error = left[task_id]
                loaded[step] = replace(live.run.ends[step], output=output, error=error, kept=True)
        payload = step_payload(live, run_inputs.get(live.run.id), loaded)
        if payload is not None:
            found[live.id] = payload
    return found


def missing_parts(live: LiveTask) -> list[tuple[int, UUID]]:
    """Steps, with their tasks, whose output or error is not in memory and is needed."""
    run = live.run
    assert run is not None
    ends = ((step, run.ends[step]) for step in _parts(live) if step in run.ends)
    return [(step, end.task_id) for step, end in ends if not end.kept]


def _parts(live: LiveTask) -> Sequence[int]:
    """The steps that a step gets something of."""
    assert live.run is not None
    graph = live.run.dag.graph
    at = live.plan.index
    return range(graph.regular) if at == graph.on_failure else graph.steps[at].parents
