"""Each setting of the page, on an engine and on an API server as processes."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.collector import Collector, Mood
from broadaxe.testkit.database import Databases
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.stalls import within
from tests.faults.cluster import Cluster, running
from tests.faults.wire import COMPLETED
from tests.telemetry.stage import PREFIX, Caller, Stage, report, staged

ROLES = ("engine", "api")
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "200"}


@pytest.fixture(scope="module")
async def cluster(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A prepared database; each test starts processes with settings of its own."""
    dsn = await databases.empty()
    async with running(
        dsn, tmp_path_factory.mktemp("settings"), SERVER_PROMETHEUS_ENABLED="false"
    ) as cluster:
        yield cluster
    await databases.drop(dsn)


@asynccontextmanager
async def started(cluster: Cluster, role: str, **env: str) -> AsyncIterator[ChildProcess]:
    """One process that is ready; stopped at the end."""
    process = await cluster.start(role, **{**QUICK, **env})
    try:
        yield process
    finally:
        await process.stop(20)


async def make_a_span(cluster: Cluster, role: str) -> None:
    """Call the process so that it records something."""
    if role == "engine":
        async with Caller(cluster.address, cluster.token) as caller:
            await caller.put("flow")
        return
    stage = Stage(cluster, None)  # type: ignore[arg-type]
    answer = await stage.rest("GET", "/api/v1/tenants/{tenant}/workflows")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("role", ROLES)
async def test_no_url_is_off_and_connects_to_nobody(cluster: Cluster, role: str) -> None:
    async with Collector() as collector:
        # What clusters inject everywhere must not turn it on.
        env = {
            "SERVER_OTEL_COLLECTOR_URL": "",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.target}",
            "SERVER_OTEL_METRICS_ENABLED": "true",
        }
        async with started(cluster, role, **env) as process:
            await make_a_span(cluster, role)
        assert process.returncode == 0
        assert not collector.headers


@pytest.mark.parametrize("role", ROLES)
async def test_tls_is_the_default_with_a_private_authority(
    cluster: Cluster, role: str, tmp_path: Path
) -> None:
    authority = Authority.make()
    root = tmp_path / "ca.pem"
    root.write_bytes(authority.certificate)
    async with Collector(authority=authority) as collector:
        env = {
            "SERVER_OTEL_COLLECTOR_URL": collector.target,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(root),
            "SERVER_OTEL_COLLECTOR_AUTH": "Basic dTpw==",
        }
        async with started(cluster, role, **env):
            await make_a_span(cluster, role)
            await collector.wait_for(lambda: len(collector.spans) > 0, "a span over TLS")
        assert {headers.get("authorization") for headers in collector.headers} == {"Basic dTpw=="}
        assert {span.service for span in collector.spans} == {"server"}


@pytest.mark.parametrize("role", ROLES)
async def test_plaintext_collector_is_refused_without_insecure(cluster: Cluster, role: str) -> None:
    async with Collector() as collector:
        async with started(cluster, role, SERVER_OTEL_COLLECTOR_URL=collector.target) as process:
            await make_a_span(cluster, role)
            await process.wait_line("spans|export|collector")
        assert not collector.spans


@pytest.mark.parametrize("role", ROLES)
async def test_insecure_name_kubernetes_and_no_empty_authorization(cluster: Cluster, role: str) -> None:
    async with Collector() as collector:
        env = {
            "SERVER_OTEL_COLLECTOR_URL": collector.target,
            "SERVER_OTEL_INSECURE": "t",
            "SERVER_OTEL_COLLECTOR_AUTH": "",
            "SERVER_OTEL_SERVICE_NAME": f"our-{role}",
            "OTEL_SERVICE_NAME": "not-this",
            "K8S_POD_NAME": "pod-7",
            "K8S_POD_NAMESPACE": "space",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        async with started(cluster, role, **env):
            await make_a_span(cluster, role)
            await collector.wait_for(lambda: len(collector.spans) > 0, "a span in plaintext")
        assert not any("authorization" in headers for headers in collector.headers)
        assert not collector.receiver.metrics, "metrics are sent only when they are enabled"
        resource = collector.spans[0].resource
        assert resource["service.name"] == f"our-{role}"
        assert resource["library.language"] == "python"
        assert resource["k8s.pod.name"] == "pod-7"
        assert resource["k8s.namespace.name"] == "space"
        assert resource["deployment.environment.name"] == "test"
        assert resource["service.version"]
        assert resource["service.instance.id"]
        assert all(span.name.startswith(PREFIX) for span in collector.spans)


@pytest.mark.parametrize("role", ROLES)
async def test_metrics_are_sent_over_the_same_url_when_enabled(cluster: Cluster, role: str) -> None:
    async with Collector() as collector:
        env = {
            "SERVER_OTEL_COLLECTOR_URL": collector.target,
            "SERVER_OTEL_INSECURE": "true",
            "SERVER_OTEL_METRICS_ENABLED": "true",
            "SERVER_OTEL_COLLECTOR_AUTH": "Bearer abc",
        }
        async with started(cluster, role, **env):
            await make_a_span(cluster, role)
            assert await collector.receiver.wait_for(lambda: len(collector.receiver.metrics) > 0, 30)
        assert {headers.get("authorization") for headers in collector.headers} == {"Bearer abc"}
        names = {
            metric.name
            for request in collector.receiver.metrics
            for scopes in request.resource_metrics
            for scope in scopes.scope_metrics
            for metric in scope.metrics
        }
        assert "db.client.operation.duration" in names
        wanted = "hatchet.runs.active" if role == "engine" else "http.server.request.duration"
        assert wanted in names


BAD = [
    ("SERVER_OTEL_COLLECTOR_URL", "http://collector:4317", "collectorURL"),
    ("SERVER_OTEL_COLLECTOR_URL", "collector", "collectorURL"),
    ("SERVER_OTEL_COLLECTOR_URL", "collector:0", "collectorURL"),
    ("SERVER_OTEL_TRACE_ID_RATIO", "1.5", "traceIdRatio"),
    ("SERVER_OTEL_TRACE_ID_RATIO", "half", "traceIdRatio"),
    ("SERVER_OTEL_TRACE_ID_RATIO", "nan", "traceIdRatio"),
    ("SERVER_OTEL_INSECURE", "perhaps", "insecure"),
    ("SERVER_OTEL_METRICS_ENABLED", "perhaps", "metricsEnabled"),
]


async def _ends(cluster: Cluster, role: str, *arguments: str, **env: str) -> tuple[int, Sequence[str]]:
    given = {**cluster.env, **env}
    async with await ChildProcess.broadaxe(role, *arguments, env=given) as process:
        code = await process.wait(60)
        lines = [line for line in process.output().splitlines() if line.strip()]
        return code, lines


async def test_bad_value_is_one_line_naming_the_variable_and_exit_code_2(cluster: Cluster) -> None:
    cases = [(role, *one[:2]) for role in ROLES for one in BAD[:1] + BAD[3:4]]
    ends = await asyncio.gather(*(_ends(cluster, role, **{name: value}) for role, name, value in cases))
    for (_, variable, _), (code, lines) in zip(cases, ends, strict=True):
        assert code == 2, lines
        assert len(lines) == 1, lines
        assert variable in lines[0]


@pytest.mark.parametrize("half", [BAD[::2], BAD[1::2]], ids=["even", "odd"])
async def test_bad_value_in_the_file_is_one_line_naming_the_key(
    cluster: Cluster, tmp_path: Path, half: list[tuple[str, str, str]]
) -> None:
    folders = []
    for number, (_, value, key) in enumerate(half):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / "server.yaml").write_text(f'otel:\n  {key}: "{value}"\n')
    ends = await asyncio.gather(*(_ends(cluster, "engine", "--config", str(one)) for one in folders))
    for (_, _, key), (code, lines) in zip(half, ends, strict=True):
        assert code == 2, lines
        assert len(lines) == 1, lines
        assert f"otel.{key}" in lines[0]


@pytest.mark.parametrize("role", ROLES)
async def test_unreachable_host_is_one_clear_line_and_the_server_runs_on(cluster: Cluster, role: str) -> None:
    port = free_port()
    env = {"SERVER_OTEL_COLLECTOR_URL": f"127.0.0.1:{port}", "SERVER_OTEL_INSECURE": "true"}
    async with started(cluster, role, **env) as process:
        await make_a_span(cluster, role)
        await process.wait_line(rf"cannot export traces to the collector at 127\.0\.0\.1:{port}")
        for _ in range(5):
            await make_a_span(cluster, role)
        complaints = [
            line for line in process.lines if str(port) in line.text and '"level": "warn"' in line.text
        ]
        assert len(complaints) == 1, [line.text for line in complaints]
        assert "Traceback" not in process.output()
    assert process.returncode == 0


async def _stops(cluster: Cluster, role: str, target: str, collector: Collector | None) -> None:
    """Start, record, stop: cleanly, within ten seconds."""
    env = {"SERVER_OTEL_COLLECTOR_URL": target, "SERVER_OTEL_INSECURE": "true"}
    process = await cluster.start(role, **{**QUICK, **env})
    await make_a_span(cluster, role)
    if collector is not None:
        await collector.wait_for(lambda: collector.requests > 0, "an export")
    async with within(10):
        process.signal(signal.SIGTERM)
        assert await process.wait(60) == 0
    assert "Traceback" not in process.output()


@pytest.mark.parametrize("mood", [Mood.HANGING, Mood.REFUSING], ids=lambda mood: mood.value)
async def test_stop_with_a_bad_collector_is_clean_and_in_time(cluster: Cluster, mood: Mood) -> None:
    async with Collector(mood) as one, Collector(mood) as other:
        collectors = (one, other)
        await asyncio.gather(
            *(_stops(cluster, role, it.target, it) for role, it in zip(ROLES, collectors, strict=True))
        )
        for collector in collectors:
            collector.mood = Mood.NORMAL


async def test_stop_with_a_collector_that_says_nothing_is_clean_and_in_time(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        await asyncio.gather(*(_stops(cluster, role, target, None) for role in ROLES))


async def test_prometheus_has_the_peers_names_with_the_right_values(
    databases: Databases, tmp_path: Path
) -> None:
    async with staged(databases, tmp_path, SERVER_OTEL_COLLECTOR_URL="") as stage:
        await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow", retries=1)
            worker = await stage.worker("flow", client=caller, slots=4)
            for number in range(6):
                run = await caller.start("flow")
                got = await worker.start_of(run, 0)
                if number == 0:
                    await report(worker, got, 3, "Error: no")
                    got = await worker.start_of(run, 1)
                if number == 1:
                    await caller.cancel(run)
                    continue
                if number == 2:
                    await report(worker, got, 3, "no", should_not_retry=True)
                    continue
                await report(worker, got, COMPLETED, "{}")
            tenant = str(stage.cluster.tenant_id)

            async def settled() -> dict[str, float]:
                found = await stage.cluster.metrics()
                # Counts are handed to the instruments once a second.
                return found if found.get("hatchet_created_tasks_total") == 6 else {}

            from broadaxe.testkit.conditions import until

            found = await until(settled, "six tasks in the metrics", period=0.1)
            await worker.die()
        assert found["hatchet_succeeded_tasks_total"] == 4
        assert found["hatchet_failed_tasks_total"] == 1
        assert found["hatchet_cancelled_tasks_total"] == 1
        retried = sum(value for key, value in found.items() if key.startswith("hatchet_retried_tasks_total"))
        assert retried == 1
        assert found["hatchet_assigned_tasks"] == 7
        assert found["hatchet_queued_to_assigned"] >= 1
        assert found["hatchet_queued_to_assigned_time_seconds_count"] >= 1
        assert found[f'hatchet_tenant_created_tasks_total{{tenant_id="{tenant}"}}'] == 6
        assert found[f'hatchet_tenant_worker_slots{{tenant_id="{tenant}"}}'] == 4
        assert any(re.match(r"rpc_server_call_duration_seconds_count\{", key) for key in found)
        assert any(re.match(r"db_client_operation_duration_seconds_sum\{", key) for key in found)


async def test_idle_server_with_an_idle_worker_records_nothing(databases: Databases, tmp_path: Path) -> None:
    settings = {"SERVER_OTEL_METRICS_ENABLED": "true", "OTEL_METRIC_EXPORT_INTERVAL": "300"}
    async with staged(databases, tmp_path, **settings) as stage:
        await stage.cluster.start("server")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            # REST calls and cancels leave nothing behind that timers could inherit.
            run = await caller.start("flow")
            await worker.start_of(run)
            answer = await stage.rest(
                "POST", "/api/v1/stable/tenants/{tenant}/tasks/cancel", json={"externalIds": [str(run)]}
            )
            assert answer.status_code == 200, answer.text
            await worker.cancel_of(run)
            receiver = stage.collector.receiver
            beats, sent = len(worker.beat_answers), len(receiver.metrics)
            # Some seconds of an idle life, told by what goes on: heartbeats and metric exports.
            await worker.wait(lambda: len(worker.beat_answers) >= beats + 1, "a heartbeat")
            before = len(stage.collector.spans)
            await worker.wait(lambda: len(worker.beat_answers) >= beats + 4, "more heartbeats")
            assert await receiver.wait_for(lambda: len(receiver.metrics) > sent + 3, 30)
            await asyncio.gather(*(stage.cluster.health("/ready") for _ in range(5)))
            assert [span.name for span in list(stage.collector.spans)[before:]] == []
            await worker.die()
