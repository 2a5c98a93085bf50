"""A clock that stands still until it is moved, and keys made once."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from broadaxe.auth.keys import Keysets, KeysetTexts, create_keysets, open_keysets
from broadaxe.auth.tokens import TokenIssuer
from broadaxe.clock import SystemIds
from broadaxe.domain.ids import TenantId

START_NS = int(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
TENANT = TenantId(UUID("707d0855-80ab-4e1f-a156-f1c4546cbf52"))


class VirtualClock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.passed_ns = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ns() / 1_000_000_000, UTC)

    def now_ns(self) -> int:
        return START_NS + self.passed_ns

    def monotonic(self) -> float:
        return self.passed_ns / 1_000_000_000

    def move(self, seconds: float) -> None:
        self.passed_ns += round(seconds * 1_000_000_000)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def texts() -> KeysetTexts:
    return create_keysets(SystemIds())


@pytest.fixture(scope="session")
def keysets(texts: KeysetTexts) -> Keysets:
    return open_keysets(texts)


@pytest.fixture
def issuer(keysets: Keysets, clock: VirtualClock) -> TokenIssuer:
    return TokenIssuer(
        keysets.signing,
        server_url="http://localhost:8080",
        grpc_broadcast_address="127.0.0.1:7070",
        clock=clock,
        ids=SystemIds(),
    )
