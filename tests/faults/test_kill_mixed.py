"""kill -9 at random moments over everything at once: runs of one and of several steps, retries, events that
start runs or are waited for, crons, planned runs, cancels; traced."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire import events_pb2 as ev
from broadaxe.grpc_api.wire import workflows_pb2 as wf
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.grpc_api.wire.v1.shared import condition_pb2 as cp
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.invariants import History, Verdict
from tests.faults.cluster import running
from tests.faults.conftest import soak
from tests.faults.figures import check_spans_add_up
from tests.faults.test_kill_dags import Load, base, judge, task
from tests.faults.test_kill_storm import check_traces
from tests.faults.wire import Client, RawWorker, patiently

PUSHED_ONE_IN = 4
PLANNED = 10
RUNS = """
    SELECT id, state FROM run
    UNION ALL SELECT id, state FROM task WHERE run_id = id
"""


def hearing() -> list[v1.CreateTaskOpts]:
    """A step that waits for an event or for a while, whichever is first."""
    event = cp.UserEventMatchCondition(base=base(1, "go"), user_event_key="mix:go")
    nap = cp.SleepMatchCondition(base=base(1, "nap"), sleep_for="1s")
    event.base.or_group_id = nap.base.or_group_id = "either"
    either = {"user_event_conditions": [event], "sleep_conditions": [nap]}
    return [task("hears", "start"), task("hears", "waits", "start", **either), task("hears", "end", "waits")]


class MixedLoad(Load):
    """The load of several steps, and all the other ways in which runs begin."""

    def flows(self) -> dict[str, list[v1.CreateTaskOpts]]:
        return {**super().flows(), "hears": hearing(), "plain": [task("plain", "step", retries=3)]}

    async def register(self) -> RawWorker:
        worker = await super().register()
        # The crons come last: they start runs from now on.
        await self._timed(events=["mix:*"], crons=["* * * * * *"])
        planned = wf.ScheduleWorkflowRequest(name="timed", input="{}")
        for number in range(PLANNED):
            planned.schedules.add().FromDatetime(datetime.now(UTC) + timedelta(milliseconds=500 * number))
        await self.client.call("/WorkflowService/ScheduleWorkflow", planned, wf.WorkflowVersion)
        return worker

    def actions(self) -> list[str]:
        return [*super().actions(), "timed-step"]

    async def _timed(self, events: list[str], crons: list[str]) -> None:
        request = v1.CreateWorkflowVersionRequest(
            name="timed", tasks=[task("timed", "step")], event_triggers=events, cron_triggers=crons
        )
        await patiently(
            lambda: self.client.call(
                "/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse
            )
        )

    async def trigger(self, count: int) -> list[UUID]:
        runs: list[UUID] = []
        for _ in range(count):
            runs += await super().trigger(1)
            if self.dice.randrange(PUSHED_ONE_IN) == 0:
                await self._push(self.dice.choice(("mix:go", "mix:other")))
        return runs

    async def _push(self, key: str) -> None:
        event = ev.PushEventRequest(key=key, payload='{"n":1}')
        await patiently(lambda: self.client.call("/EventsService/Push", event, ev.Event))

    async def quiet(self) -> None:
        """No cron and no event starts runs any more, so that everything can end."""
        await self._timed(events=[], crons=[])


async def campaign(folder: Path, runs: int, kills: int) -> Verdict:
    """Trigger, push, kill, restart, and judge what is left, in rows, on the read side and in traces."""
    postgres = EmbeddedPostgres(folder / "postgres")
    dsn = await postgres.start()
    try:
        async with Collector(keep=2_000_000) as collector:
            env = {"SERVER_OTEL_COLLECTOR_URL": collector.target, "SERVER_OTEL_INSECURE": "true"}
            async with running(dsn, folder / "cluster", **env) as cluster:
                engine = await cluster.start("server")
                async with Client(cluster.address, cluster.token, History()) as client:
                    load = MixedLoad(cluster, client)
                    worker = await load.register()
                    async with worker:
                        engine = await load.rage(engine, runs, kills)
                        await load.quiet()
                        waiting = "SELECT count(*) FROM scheduled_run WHERE settled_at IS NULL"
                        await cluster.until_value(waiting, 0, 60.0)
                        verdict = await judge(cluster, client.history, runs, RUNS, 60)
                        assert len(await cluster.fetch(RUNS)) > runs, "no event and no cron started a run"
                await check_spans_add_up(cluster.metrics_port)
                assert await engine.stop() == 0
                check_traces(collector)
            return verdict
    finally:
        await postgres.stop()


@pytest.mark.slow
async def test_engine_killed_over_a_mixed_load_everything_holds(tmp_path: Path) -> None:
    print(await campaign(tmp_path, runs=80, kills=5))


@soak
async def test_engine_killed_20_times_over_a_mixed_load(tmp_path: Path) -> None:
    print(await campaign(tmp_path, runs=800, kills=20))
