"""The check of every call: cached verification of tokens, and their rows believed for a few seconds."""

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from broadaxe.auth.keys import VerifyingKey
from broadaxe.auth.tokens import Identity, TokenClaims, TokenRejected, verify_token
from broadaxe.clock import Clock
from broadaxe.domain.errors import Unauthenticated, Unavailable
from broadaxe.domain.ids import TenantId

INVALID_TOKEN = "invalid auth token"
"""All that a caller learns about a refused token; the reason is the cause of the error, for logs."""


class TokenRow(NamedTuple):
    """What is stored of a token."""

    tenant_id: TenantId
    revoked: bool
    expires_at: datetime | None


class TokenStore(Protocol):
    """Where the rows of tokens are."""

    async def lookup(self, tenant_id: TenantId, token_id: UUID) -> TokenRow | None:
        """The row of a tenant's token, None when there is none.

        Raises `Unavailable` while the database is away.
        """


class _Known(NamedTuple):
    row: TokenRow
    fresh_until: float
    fetched: float


class _Accepted(NamedTuple):
    """A token that was accepted: counts as long as the row that said so is kept and fresh."""

    identity: Identity
    known: _Known
    until: float
    """Seconds since 1970: the token, or its row, expires."""


class TokenVerifier:
    """Turns the authorization of a call into who calls.

    A signature is verified once and remembered by the token's text, at most `cache_size` of them; an expired
    token is refused from memory too. A row is believed for `row_life` seconds (CACHE_DURATION), which bounds
    how long a revoked token still counts. While the database is away a row seen before is believed for
    `outage_life` seconds more, so that workers keep their connection. Tokens of the API process itself count
    when `accept_internal`.
    """

    def __init__(
        self,
        keys: tuple[VerifyingKey, ...],
        store: TokenStore,
        *,
        clock: Clock,
        row_life: float = 5.0,
        outage_life: float = 600.0,
        accept_internal: bool = False,
        cache_size: int = 10_000,
    ) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock
        self._row_life = row_life
        self._outage_life = outage_life
        self._accept_internal = accept_internal
        self._cache_size = cache_size
        self._verified: OrderedDict[str, TokenClaims] = OrderedDict()
        self._rows: OrderedDict[UUID, _Known] = OrderedDict()
        self._lookups: dict[UUID, asyncio.Task[TokenRow | None]] = {}
        self._accepted: dict[str, _Accepted] = {}
        """By the whole authorization, so that the usual call needs no more than a look."""

    def known(self, authorization: str) -> Identity | None:
        """Who was accepted with these words, as long as that still counts; None: `authenticate` decides."""
        accepted = self._accepted.get(authorization)
        if accepted is None:
            return None
        if self._still_counts(accepted):
            return accepted.identity
        del self._accepted[authorization]
        return None

    async def authenticate(self, authorization: str) -> Identity:
        """The identity behind `bearer <token>` (the scheme in any case).

        Raises `Unauthenticated` for anything but a valid token, `Unavailable` when the row of a token
        that was not seen before cannot be read.
        """
        known = self.known(authorization)
        if known is not None:
            return known
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(INVALID_TOKEN) from TokenRejected("no bearer")
        try:
            identity = await self._identity(token.strip())
        except TokenRejected as reason:
            raise Unauthenticated(INVALID_TOKEN) from reason
        self._accept(authorization, token.strip(), identity)
        return identity

    def _still_counts(self, accepted: _Accepted) -> bool:
        known = accepted.known
        return (
            self._clock.monotonic() < known.fresh_until
            and self._rows.get(accepted.identity.token_id) is known
            and self._clock.now_ns() < accepted.until * 1e9
        )

    def _accept(self, authorization: str, token: str, identity: Identity) -> None:
        known, claims = self._rows.get(identity.token_id), self._verified.get(token)
        if known is None or claims is None or known.row.revoked:
            return  # a look-up that another call made meanwhile knows better
        row_end = known.row.expires_at
        until = claims.expires_at if row_end is None else min(claims.expires_at, row_end.timestamp())
        if len(self._accepted) >= self._cache_size:
            self._accepted.clear()
        self._accepted[authorization] = _Accepted(identity, known, until)

    def forget(self, token_id: UUID) -> None:
        """Ask for the row of a token again at its next call: it was revoked."""
        self._rows.pop(token_id, None)
        self._lookups.pop(token_id, None)

    async def _identity(self, token: str) -> Identity:
        now = self._clock.now_ns() / 1_000_000_000
        claims = self._claims(token, now)
        identity = claims.identity
        if identity.internal:
            if not self._accept_internal:
                raise TokenRejected("a token of the API process")
            return identity
        row = await self._row(identity)
        if row is None:
            raise TokenRejected("no such token")
        if row.revoked:
            raise TokenRejected("revoked")
        if row.tenant_id != identity.tenant_id:
            raise TokenRejected("the token of another tenant")
        if row.expires_at is not None and now >= row.expires_at.timestamp():
            raise TokenRejected("expired")
        return identity

    def _claims(self, token: str, now: float) -> TokenClaims:
        known = self._verified.get(token)
        if known is None:
            known = verify_token(token, self._keys, now)
            self._verified[token] = known
            if len(self._verified) > self._cache_size:
                self._verified.popitem(last=False)
            return known
        if now >= known.expires_at:
            del self._verified[token]
            raise TokenRejected("expired")
        self._verified.move_to_end(token)
        return known

    async def _row(self, identity: Identity) -> TokenRow | None:
        token_id = identity.token_id
        at = self._clock.monotonic()
        known = self._rows.get(token_id)
        if known is not None and at < known.fresh_until:
            self._rows.move_to_end(token_id)
            return known.row
        try:
            row = await self._looked_up(identity)
        except Unavailable:
            if known is None or at >= known.fetched + self._row_life + self._outage_life:
                raise
            # not asked again before another while has passed, else every call would wait for the database
            self._rows[token_id] = known._replace(fresh_until=self._clock.monotonic() + self._row_life)
            return known.row
        return row

    async def _looked_up(self, identity: Identity) -> TokenRow | None:
        """One look-up for all the calls that wait for it; one caller that goes away does not end it."""
        lookup = self._lookups.get(identity.token_id)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(identity))
            lookup.add_done_callback(_settle)
            self._lookups[identity.token_id] = lookup
        return await asyncio.shield(lookup)

    async def _look_up(self, identity: Identity) -> TokenRow | None:
        token_id = identity.token_id
        task = asyncio.current_task()
        asked = self._clock.monotonic()
        try:
            row = await self._store.lookup(identity.tenant_id, token_id)
        finally:
            current = self._lookups.get(token_id) is task
            if current:
                del self._lookups[token_id]
        # an answer that was under way when the token was revoked is not kept
        if current:
            self._keep(token_id, row, asked)
        return row

    def _keep(self, token_id: UUID, row: TokenRow | None, asked: float) -> None:
        if row is None:
            self._rows.pop(token_id, None)
            return
        self._rows[token_id] = _Known(row, asked + self._row_life, asked)
        self._rows.move_to_end(token_id)
        if len(self._rows) > self._cache_size:
            self._rows.popitem(last=False)


def _settle(lookup: asyncio.Task[TokenRow | None]) -> None:
    """Take note of a failure that no caller is left to hear of."""
    if not lookup.cancelled():
        lookup.exception()
