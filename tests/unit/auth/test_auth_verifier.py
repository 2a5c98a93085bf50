"""The verifier: what it asks for, what it remembers and for how long."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from auth_fixtures import TENANT, VirtualClock

from broadaxe.auth.keys import Keysets
from broadaxe.auth.tokens import IssuedToken, TokenIssuer
from broadaxe.auth.verifier import TokenRow, TokenVerifier
from broadaxe.clock import SystemIds
from broadaxe.domain.errors import Unauthenticated, Unavailable
from broadaxe.domain.ids import TenantId


class Store:
    """Rows of tokens in memory, which counts how often it is asked, can be away, and can be made to wait."""

    def __init__(self) -> None:
        self.rows: dict[UUID, TokenRow] = {}
        self.asked = 0
        self.away = False
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    def put(
        self,
        token: IssuedToken,
        *,
        tenant: TenantId = TENANT,
        revoked: bool = False,
        ends: datetime | None = None,
    ) -> None:
        self.rows[token.token_id] = TokenRow(tenant, revoked, ends or token.expires_at)

    async def lookup(self, tenant_id: TenantId, token_id: UUID) -> TokenRow | None:
        self.asked += 1
        row = self.rows.get(token_id)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable("the database is away")
        return row


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def verifier(keysets: Keysets, store: Store, clock: VirtualClock) -> TokenVerifier:
    return TokenVerifier(keysets.verifying, store, clock=clock, row_life=5, outage_life=300, cache_size=3)


async def refused(verifier: TokenVerifier, token: IssuedToken) -> str:
    """The reason for which a token is refused; callers are told none of it."""
    with pytest.raises(Unauthenticated) as caught:
        await verifier.authenticate(f"Bearer {token.text}")
    assert caught.value.message == "invalid auth token"
    return str(caught.value.__cause__)


async def test_authenticate_stored_token_is_its_tenant(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    for scheme in ("bearer", "Bearer", "BEARER"):
        assert await verifier.authenticate(f"{scheme} {token.text}") == (TENANT, token.token_id, False)
    assert store.asked == 1


@pytest.mark.parametrize("value", ["", "bearer", "bearer ", "basic abc", "bearer a.b.c", "ey.ey.ey"])
async def test_authenticate_anything_else_is_refused(
    verifier: TokenVerifier, store: Store, value: str
) -> None:
    with pytest.raises(Unauthenticated, match=r"^invalid auth token$"):
        await verifier.authenticate(value)
    assert store.asked == 0


async def test_authenticate_unknown_token_is_refused_and_not_remembered(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    assert await refused(verifier, token) == "no such token"
    store.put(token)
    assert (await verifier.authenticate(f"bearer {token.text}")).tenant_id == TENANT


async def test_authenticate_token_of_another_tenants_row_is_refused(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token, tenant=TenantId(SystemIds().uuid4()))
    assert await refused(verifier, token) == "the token of another tenant"


async def test_authenticate_revoked_token_counts_for_the_row_life_at_most(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    await verifier.authenticate(f"bearer {token.text}")
    store.put(token, revoked=True)
    clock.move(4.9)
    await verifier.authenticate(f"bearer {token.text}")
    clock.move(0.1)
    assert await refused(verifier, token) == "revoked"


async def test_forget_revoked_token_is_refused_at_once(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    await verifier.authenticate(f"bearer {token.text}")
    store.put(token, revoked=True)
    verifier.forget(token.token_id)
    assert await refused(verifier, token) == "revoked"


async def test_forget_during_a_lookup_does_not_keep_its_answer(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    store.gate = asyncio.Event()
    call = asyncio.create_task(verifier.authenticate(f"bearer {token.text}"))
    await store.entered.wait()
    store.put(token, revoked=True)
    verifier.forget(token.token_id)
    store.gate.set()
    await call
    assert await refused(verifier, token) == "revoked"


async def test_revocation_that_another_call_learnt_of_meanwhile_is_not_overlooked(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    header = f"Bearer {token.text}"
    store.gate = asyncio.Event()
    first = asyncio.create_task(verifier.authenticate(header))
    await store.entered.wait()
    store.gate.set()
    store.put(token, revoked=True)
    verifier.forget(token.token_id)
    assert await refused(verifier, token) == "revoked"
    assert (await first).tenant_id == TENANT  # it was asked before the revocation
    assert await refused(verifier, token) == "revoked"


async def test_authenticate_expiry_holds_from_memory_too(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue(TENANT, life=timedelta(seconds=3))
    store.put(token)
    await verifier.authenticate(f"bearer {token.text}")
    clock.move(3)
    assert await refused(verifier, token) == "expired"
    assert await refused(verifier, token) == "expired"
    assert store.asked == 1


async def test_authenticate_row_that_ends_earlier_is_honoured(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue(TENANT)
    store.put(token, ends=clock.now() + timedelta(seconds=2))
    await verifier.authenticate(f"bearer {token.text}")
    clock.move(2)
    assert await refused(verifier, token) == "expired"


async def test_authenticate_memory_is_bounded(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    tokens = [issuer.issue(TENANT) for _ in range(4)]
    for token in tokens:
        store.put(token)
        await verifier.authenticate(f"bearer {token.text}")
    await verifier.authenticate(f"bearer {tokens[3].text}")
    assert store.asked == 4
    await verifier.authenticate(f"bearer {tokens[0].text}")
    assert store.asked == 5


async def test_authenticate_calls_at_once_share_a_lookup_that_outlives_them(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    store.gate = asyncio.Event()
    calls = [asyncio.create_task(verifier.authenticate(f"bearer {token.text}")) for _ in range(5)]
    await store.entered.wait()
    calls[0].cancel()
    store.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [(TENANT, token.token_id, False)] * 4
    assert store.asked == 1


async def test_authenticate_database_away_known_token_counts_for_a_while(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue(TENANT)
    store.put(token)
    await verifier.authenticate(f"bearer {token.text}")
    store.away = True
    clock.move(100)
    for _ in range(3):
        await verifier.authenticate(f"bearer {token.text}")
    assert store.asked == 2
    clock.move(205)
    with pytest.raises(Unavailable):
        await verifier.authenticate(f"bearer {token.text}")
    store.away = False
    await verifier.authenticate(f"bearer {token.text}")


async def test_authenticate_database_away_revoked_token_stays_refused(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue(TENANT)
    store.put(token, revoked=True)
    assert await refused(verifier, token) == "revoked"
    store.away = True
    clock.move(60)
    assert await refused(verifier, token) == "revoked"


async def test_authenticate_database_away_new_token_is_unavailable(
    verifier: TokenVerifier, store: Store, issuer: TokenIssuer
) -> None:
    store.away = True
    with pytest.raises(Unavailable):
        await verifier.authenticate(f"bearer {issuer.issue(TENANT).text}")


async def test_authenticate_internal_token_counts_only_where_accepted(
    verifier: TokenVerifier, keysets: Keysets, store: Store, issuer: TokenIssuer, clock: VirtualClock
) -> None:
    token = issuer.issue_internal(TENANT)
    assert await refused(verifier, token) == "a token of the API process"
    engine = TokenVerifier(keysets.verifying, store, clock=clock, accept_internal=True)
    assert await engine.authenticate(f"bearer {token.text}") == (TENANT, token.token_id, True)
    assert store.asked == 0
    clock.move(60)
    assert await refused(engine, token) == "expired"
