"""Tokens: what they carry, and every way in which one can be wrong."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from auth_fixtures import START_NS, TENANT, VirtualClock

from broadaxe.auth.keys import Keysets, create_keysets, open_keysets
from broadaxe.auth.tokens import TokenClaims, TokenIssuer, TokenRejected, verify_token
from broadaxe.clock import SystemIds

NOW = START_NS / 1_000_000_000
Forge = Callable[..., str]


@pytest.fixture
def forge(keysets: Keysets) -> Forge:
    """A token signed with our key whose claims and headers a test chooses."""

    def make(headers: dict[str, Any] | None = None, **changed: Any) -> str:
        claims: dict[str, Any] = {
            "iss": "http://a",
            "aud": "http://a",
            "sub": str(TENANT),
            "iat": int(NOW),
            "exp": int(NOW) + 60,
            "token_id": "0196b1a0-0000-7000-8000-000000000001",
            "server_url": "http://a",
            "grpc_broadcast_address": "a:1",
        }
        claims = {name: value for name, value in (claims | changed).items() if value is not ...}
        kid = {"kid": keysets.signing.kid}
        return jwt.encode(claims, keysets.signing.private_key, "ES256", headers={**kid, **(headers or {})})

    return make


def check(keysets: Keysets, text: str, after: float = 0) -> TokenClaims:
    return verify_token(text, keysets.verifying, NOW + after)


def header_of(text: str) -> dict[str, Any]:
    part = text.split(".")[0]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def test_issue_token_carries_what_clients_read(issuer: TokenIssuer, keysets: Keysets) -> None:
    issued = issuer.issue(TENANT)
    assert issued.text.startswith("ey")
    assert issued.text not in repr(issued)
    assert header_of(issued.text) == {"alg": "ES256", "kid": keysets.signing.kid}


def test_issue_token_is_read_by_the_official_sdk(issuer: TokenIssuer) -> None:
    sdk = pytest.importorskip("hatchet_sdk.token", reason="the official SDK is not installed")
    text = issuer.issue(TENANT).text
    assert sdk.get_tenant_id_from_jwt(text) == str(TENANT)
    assert sdk.get_addresses_from_jwt(text) == ("http://localhost:8080", "127.0.0.1:7070")


def test_issue_token_lives_for_ninety_days(issuer: TokenIssuer, keysets: Keysets) -> None:
    issued = issuer.issue(TENANT)
    assert issued.expires_at - issued.issued_at == timedelta(days=90)
    claims = check(keysets, issued.text, 90 * 86400 - 1)
    assert claims.identity == (TENANT, issued.token_id, False)
    with pytest.raises(TokenRejected, match="expired"):
        check(keysets, issued.text, 90 * 86400)


def test_issue_internal_token_is_marked_and_short(issuer: TokenIssuer, keysets: Keysets) -> None:
    issued = issuer.issue_internal(TENANT)
    assert check(keysets, issued.text).identity.internal
    with pytest.raises(TokenRejected, match="expired"):
        check(keysets, issued.text, 60)


def test_issue_token_of_no_life_is_refused(issuer: TokenIssuer) -> None:
    with pytest.raises(ValueError, match="second"):
        issuer.issue(TENANT, life=timedelta(0))


def test_verify_token_of_another_address_counts(keysets: Keysets, clock: VirtualClock) -> None:
    old = TokenIssuer(
        keysets.signing,
        server_url="https://old.example.com",
        grpc_broadcast_address="old:1",
        clock=clock,
        ids=SystemIds(),
    )
    assert check(keysets, old.issue(TENANT).text).identity.tenant_id == TENANT


def test_verify_token_of_another_key_is_refused(issuer: TokenIssuer) -> None:
    other = open_keysets(create_keysets(SystemIds()))
    with pytest.raises(TokenRejected, match="none of our keys"):
        check(other, issuer.issue(TENANT).text)


def test_verify_token_of_another_key_with_our_kid_is_refused(issuer: TokenIssuer, keysets: Keysets) -> None:
    other = open_keysets(create_keysets(SystemIds()))
    claims = jwt.decode(issuer.issue(TENANT).text, options={"verify_signature": False})
    forged = jwt.encode(claims, other.signing.private_key, "ES256", headers={"kid": keysets.signing.kid})
    with pytest.raises(TokenRejected, match="none of our keys"):
        check(keysets, forged)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_verify_token_changed_anywhere_is_refused(issuer: TokenIssuer, keysets: Keysets, part: int) -> None:
    parts = issuer.issue(TENANT).text.split(".")
    whole = parts[part]
    for position in range(0, len(whole) - 1, 5):
        other = "A" if whole[position] != "A" else "B"
        parts[part] = whole[:position] + other + whole[position + 1 :]
        with pytest.raises(TokenRejected):
            check(keysets, ".".join(parts))


def test_verify_token_without_algorithm_is_refused(issuer: TokenIssuer, keysets: Keysets) -> None:
    claims = jwt.decode(issuer.issue(TENANT).text, options={"verify_signature": False})
    for text in (
        jwt.encode(claims, "", "none", headers={"kid": keysets.signing.kid}),
        jwt.encode(claims, "", "none", headers={"kid": keysets.signing.kid}) + "AAAA",
    ):
        with pytest.raises(TokenRejected, match="header"):
            check(keysets, text)


def test_verify_token_signed_with_hmac_of_anything_is_refused(issuer: TokenIssuer, keysets: Keysets) -> None:
    claims = jwt.decode(issuer.issue(TENANT).text, options={"verify_signature": False})
    forged = jwt.encode(claims, b"k" * 32, "HS256", headers={"kid": keysets.signing.kid})
    with pytest.raises(TokenRejected, match="header"):
        check(keysets, forged)


def test_verify_token_with_critical_headers_is_refused(forge: Forge, keysets: Keysets) -> None:
    with pytest.raises(TokenRejected):
        check(keysets, forge(headers={"crit": ["x"], "x": 1}))


def test_verify_token_of_an_unknown_kid_is_refused(forge: Forge, keysets: Keysets) -> None:
    with pytest.raises(TokenRejected, match="none of our keys"):
        check(keysets, forge(headers={"kid": "other"}))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": ...}, "exp is not a time"),
        ({"exp": "soon"}, "exp is not a time"),
        ({"exp": True}, "exp is not a time"),
        ({"exp": 10**400}, "exp is not a time"),
        ({"exp": int(NOW)}, "expired"),
        ({"iat": ...}, "iat is not a time"),
        ({"iat": int(NOW) + 61}, "future"),
        ({"sub": "nobody"}, "sub is not a UUID"),
        ({"sub": ...}, "sub is not a UUID"),
        ({"token_id": ...}, "token_id is not a UUID"),
        ({"token_id": 7}, "not a UUID|not a token"),
        ({"iss": "http://b"}, "issuer and audience differ"),
        ({"aud": ["http://b"]}, "issuer and audience differ"),
        ({"aud": ...}, "issuer and audience differ"),
        ({"iss": ..., "aud": ...}, "issuer and audience differ"),
        ({"internal": "yes"}, "not a switch"),
    ],
)
def test_verify_token_with_a_wrong_claim_is_refused(
    forge: Forge, keysets: Keysets, changed: dict[str, Any], reason: str
) -> None:
    assert check(keysets, forge()).identity.tenant_id == TENANT
    with pytest.raises(TokenRejected, match=reason):
        check(keysets, forge(**changed))


def test_verify_token_with_a_list_of_audiences_counts(forge: Forge, keysets: Keysets) -> None:
    assert check(keysets, forge(aud=["http://b", "http://a"])).identity.tenant_id == TENANT


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "ey.ey.ey",
        "e30.e30.",
        "x" * 9000,
        "é.é.é",
        "....",
        "bnVsbA.bnVsbA.AA",
        "\x00.\x00.\x00",
    ],
)
def test_verify_token_garbage_is_refused(keysets: Keysets, text: str) -> None:
    with pytest.raises(TokenRejected):
        check(keysets, text)


def test_verify_token_whose_body_is_no_object_is_refused(keysets: Keysets) -> None:
    nested = b"[" * 3000 + b"]" * 3000
    for body in (b"[]", b"null", b"\xff", nested):
        text = jwt.api_jws.encode(
            body, keysets.signing.private_key, "ES256", headers={"kid": keysets.signing.kid}
        )
        with pytest.raises(TokenRejected):
            check(keysets, text)
