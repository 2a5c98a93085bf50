"""What the tests of `deploy/` share: the judges."""

import fcntl
from pathlib import Path

import pytest

from tests.deploy.chart import Helm, Rendered
from tests.judges import NotHere, find


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm; built when it is not in the cache, which takes minutes, once."""
    try:
        # The folder above is that of all processes of a test run: one builds, the others wait for it.
        with (tmp_path_factory.getbasetemp().parent / "helm.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Helm(find("helm", build=True), tmp_path_factory.mktemp("helm"))
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The real promtool, when it was built before."""
    try:
        return find("promtool", build=False)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def collector() -> Path:
    """The real OpenTelemetry Collector, when it was built before."""
    try:
        return find("collector", build=False)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def default(helm: Helm) -> Rendered:
    """The chart without any value."""
    return helm.template()
