"""All scenarios, played once for every test that looks at what was recorded of them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.database import Databases
from tests.telemetry.scenarios import SCENARIOS
from tests.telemetry.stage import Stage, staged


@dataclass
class Told:
    """All scenarios played on one server, which has stopped since: everything it recorded has arrived."""

    stage: Stage
    runs: dict[str, list[UUID]] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)

    def of(self, scenario: str) -> list[UUID]:
        if scenario in self.failures:
            raise self.failures[scenario]
        return self.runs[scenario]

    def spans(self, scenario: str) -> list[ReceivedSpan]:
        """Of its first run's trace."""
        return self.stage.trace_of(self.of(scenario)[0])


@pytest.fixture(scope="session")
async def told(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    settings = {
        "SERVER_OTEL_METRICS_ENABLED": "true",
        # Workers beat every second: this machine may stand still for the rest.
        "SERVER_WORKER_DEAD_AFTER": "8s",
        # A report of a start rides on the report of the end, however slow this machine is.
        "SERVER_STARTED_COMMIT_DELAY": "5s",
    }
    async with staged(databases, tmp_path_factory.mktemp("told"), **settings) as stage:
        await stage.cluster.start("server")
        told = Told(stage)
        async with stage.caller() as caller:
            for name, scenario in SCENARIOS.items():
                try:
                    told.runs[name] = await scenario(stage, caller)
                except Exception as error:  # noqa: BLE001 - it is raised by the tests of this scenario
                    told.failures[name] = error
        await stage.stop_all()
        yield told
