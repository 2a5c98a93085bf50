"""API tokens: JWTs signed with ES256, whose subject is the tenant.

A token also carries the addresses that a client should dial. They are advice, and no part of the check: a
server that moves to another port or URL accepts every token it made before.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import jwt

from broadaxe.auth.keys import SigningKey, VerifyingKey
from broadaxe.clock import Clock, Ids
from broadaxe.domain.ids import TenantId

DEFAULT_LIFE = timedelta(days=90)
"""How long an API token lives unless told otherwise."""

INTERNAL_LIFE = timedelta(seconds=60)
"""How long a token of the API process for the engine lives."""

_ALGORITHM = "ES256"
_MAX_TOKEN_BYTES = 8192
_LEEWAY_SECONDS = 60
"""How far the clocks of two replicas may differ before a fresh token seems to come from the future."""

_DECODE_OPTIONS: Any = {
    "verify_signature": True,
    # time and parties are checked here, with our clock and without the server's address
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class TokenRejected(Exception):
    """Why a token does not count. For logs: a caller is only told that it does not."""


class Identity(NamedTuple):
    """Who calls: the tenant, the token, and whether it is the API process of this installation itself."""

    tenant_id: TenantId
    token_id: UUID
    internal: bool = False


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a verified token says."""

    identity: Identity
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token: its text, shown once, and what is stored of it."""

    text: str = field(repr=False)
    token_id: UUID
    tenant_id: TenantId
    issued_at: datetime
    expires_at: datetime


class TokenIssuer:
    """Makes tokens that name the present addresses of this installation."""

    def __init__(
        self,
        key: SigningKey,
        *,
        server_url: str,
        grpc_broadcast_address: str,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._key = key
        self._server_url = server_url
        self._grpc_broadcast_address = grpc_broadcast_address
        self._clock = clock
        self._ids = ids

    def issue(self, tenant_id: TenantId, *, life: timedelta = DEFAULT_LIFE) -> IssuedToken:
        """A token that counts once its row is stored; raises `ValueError` for a life below a second."""
        return self._issue(tenant_id, life, {})

    def issue_internal(self, tenant_id: TenantId) -> IssuedToken:
        """A token with which the API process calls the engine for a tenant: without a row, never listed."""
        return self._issue(tenant_id, INTERNAL_LIFE, {"internal": True})

    def _issue(self, tenant_id: TenantId, life: timedelta, extra: Mapping[str, object]) -> IssuedToken:
        if life < timedelta(seconds=1):
            raise ValueError("a token must live for a second at least")
        issued_at = self._clock.now().replace(microsecond=0)
        expires_at = issued_at + life
        token_id = self._ids.uuid4()
        claims = {
            "iss": self._server_url,
            "aud": self._server_url,
            "sub": str(tenant_id),
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
            "token_id": str(token_id),
            "server_url": self._server_url,
            "grpc_broadcast_address": self._grpc_broadcast_address,
            **extra,
        }
        # an empty `typ` is left out of the header: Tink refuses a type that it does not expect
        headers: dict[str, Any] = {"typ": ""}
        if self._key.kid is not None:
            headers["kid"] = self._key.kid
        text = jwt.encode(claims, self._key.private_key, algorithm=_ALGORITHM, headers=headers)
        stored_expiry = datetime.fromtimestamp(int(expires_at.timestamp()), UTC)
        return IssuedToken(text, token_id, tenant_id, issued_at, stored_expiry)


def verify_token(text: str, keys: tuple[VerifyingKey, ...], now: float) -> TokenClaims:
    """Check signature, life and claims at the time `now` (seconds since 1970); raises `TokenRejected`."""
    if len(text) > _MAX_TOKEN_BYTES or not text.isascii() or text.count(".") != 2:
        raise TokenRejected("not a token")
    claims = _signed_claims(text, keys)
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    if now >= expires_at:
        raise TokenRejected("expired")
    if issued_at > now + _LEEWAY_SECONDS:
        raise TokenRejected("issued in the future")
    _check_parties(claims)
    internal = claims.get("internal", False)
    if not isinstance(internal, bool):
        raise TokenRejected("the claim internal is not a switch")
    identity = Identity(TenantId(_uuid(claims, "sub")), _uuid(claims, "token_id"), internal)
    return TokenClaims(identity, issued_at, expires_at)


def _signed_claims(text: str, keys: tuple[VerifyingKey, ...]) -> Mapping[str, Any]:
    try:
        header = jwt.get_unverified_header(text)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRejected("not a token") from None
    if header.get("alg") != _ALGORITHM or "crit" in header:
        raise TokenRejected("its header is not one of ours")
    kid = header.get("kid")
    for key in keys:
        if key.kid is not None and key.kid != kid:
            continue
        try:
            claims: Mapping[str, Any] = jwt.decode(
                text, key.public_key, algorithms=[_ALGORITHM], options=_DECODE_OPTIONS
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRejected("not a token") from None
        return claims
    raise TokenRejected("none of our keys signed it")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejected(f"the claim {name} is not a time")
    seconds = float(value) if abs(value) < 2**53 else math.inf
    if not math.isfinite(seconds):
        raise TokenRejected(f"the claim {name} is not a time")
    return seconds


def _uuid(claims: Mapping[str, Any], name: str) -> UUID:
    value = claims.get(name)
    if not isinstance(value, str) or len(value) != 36:
        raise TokenRejected(f"the claim {name} is not a UUID")
    try:
        return UUID(value)
    except ValueError:
        raise TokenRejected(f"the claim {name} is not a UUID") from None


def _check_parties(claims: Mapping[str, Any]) -> None:
    """Issuer and audience must be one and the same party; which URL that had does not matter."""
    issuer, audience = claims.get("iss"), claims.get("aud")
    parties = audience if isinstance(audience, list) else [audience]
    if not isinstance(issuer, str) or issuer not in parties:
        raise TokenRejected("issuer and audience differ")
