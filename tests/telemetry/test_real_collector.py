"""The OpenTelemetry Collector itself, built from its modules, between our exporter and our receiver."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.conformance import metric_violations, span_violations, trace_violations
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import Tuning
from broadaxe.testkit.ports import free_port
from tests.telemetry.conftest import Authority, conserved, make_telemetry, running

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("collector")
CONFIG = """
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:{port}
{tls}
exporters:
  otlp:
    endpoint: {target}
    tls: {{insecure: true}}
    sending_queue: {{enabled: false}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp]}}
    metrics: {{receivers: [otlp], exporters: [otlp]}}
"""


@pytest.fixture(scope="session")
def collector_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not here, which the OpenTelemetry Collector is built with")
    binary = tmp_path_factory.mktemp("collector") / "collector"
    built = subprocess.run(
        [go, "build", "-p", "1", "-o", str(binary), "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        pytest.skip(f"the OpenTelemetry Collector could not be built: {built.stderr[-300:]}")
    return binary


@asynccontextmanager
async def collecting(binary: Path, folder: Path, target: str, tls: str = "") -> AsyncIterator[str]:
    """Runs a collector that passes everything on to `target`; gives its address."""
    port = free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(port=port, target=target, tls=tls))
    process = await asyncio.create_subprocess_exec(
        str(binary), "--config", f"file:{config}", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        said = b""
        async with asyncio.timeout(30):
            while b"Everything is ready" not in (line := await process.stderr.readline()):
                said += line
                assert line, f"the collector ended before it was ready: {said[-500:]!r}"
        drain = asyncio.create_task(process.stderr.read())
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
    await drain


async def test_real_collector_passes_on_what_was_recorded(
    collector_binary: Path, receiver: Receiver, tmp_path: Path
) -> None:
    async with collecting(collector_binary, tmp_path, receiver.target) as target:
        telemetry = make_telemetry(
            target, metrics_enabled=True, tuning=Tuning(delay=0.01, metric_interval=0.1)
        )
        async with running(telemetry):
            for number in range(500):
                run = telemetry.tracer.start(T.SPAN_RUN)
                run.set(T.ATTR_WORKFLOW_NAME, "wörk")
                run.set(T.ATTR_PRIORITY, number - 250)
                statement = telemetry.tracer.start(T.db_span("INSERT", "task"), run)
                statement.link(run.context)
                statement.event(T.EVENT_EXCEPTION, (T.ATTR_EXCEPTION_TYPE, "E"))
                statement.end(error_type="23505", message="duplicate")
                run.end()
            telemetry.metrics.record(T.METRIC_QUEUE_WAIT, 0.2)
            assert await telemetry.flush(20)
            assert telemetry.stats().exported == 1000
            assert conserved(telemetry)
            assert await receiver.wait_for(
                lambda: len(receiver.spans) == 1000 and len(receiver.metrics) > 0, 20
            )
    assert span_violations(receiver.spans) == []
    assert trace_violations(receiver.spans) == []
    assert metric_violations(receiver.metrics[0]) == []
    runs = [span for span in receiver.spans if span.name == "hatchet.run/run"]
    assert sorted(int(str(span.attributes["hatchet.run/priority"])) for span in runs) == list(
        range(-250, 250)
    )
    assert {span.attributes["hatchet.run/workflow.name"] for span in runs} == {"wörk"}
    statements = [span for span in receiver.spans if span.kind == "CLIENT"]
    assert all(span.error and len(span.links) == 1 and len(span.events) == 1 for span in statements)
    assert receiver.spans[0].resource["library.language"] == "python"


async def test_real_collector_with_tls_of_a_private_authority(
    collector_binary: Path, receiver: Receiver, tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "server.pem").write_bytes(authority.server)
    (tmp_path / "server.key").write_bytes(authority.server_key)
    tls = f"        tls: {{cert_file: {tmp_path}/server.pem, key_file: {tmp_path}/server.key}}"
    async with collecting(collector_binary, tmp_path, receiver.target, tls) as target:
        tuning = Tuning(delay=0.01, certificate=authority.certificate)
        async with running(make_telemetry(target, insecure=False, tuning=tuning)) as telemetry:
            telemetry.tracer.start(T.SPAN_FLUSH).end()
            assert await telemetry.flush(20)
            assert telemetry.stats().exported == 1
    assert len(receiver.spans) == 1
