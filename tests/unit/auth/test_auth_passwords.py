"""Hashes of passwords."""

import pytest

from broadaxe.auth.passwords import hash_password, needs_rehash, verify_password
from broadaxe.clock import SystemIds


def test_hash_password_verifies_and_is_salted() -> None:
    first, second = (hash_password("Admin123!!", SystemIds()) for _ in range(2))
    assert first != second
    assert "Admin" not in first
    assert verify_password("Admin123!!", first)
    assert not verify_password("Admin123!", first)
    assert not needs_rehash(first)
    assert needs_rehash(first.replace("ln=15", "ln=14"))


def test_verify_password_forms_of_one_text_are_one() -> None:
    assert verify_password("e\u0301", hash_password("\u00e9", SystemIds()))


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_hash_password_empty_or_endless_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="1,024"):
        hash_password(password, SystemIds())
    assert not verify_password(password, "$scrypt$ln=15,r=8,p=3$AAAA$AAAA")


@pytest.mark.parametrize(
    "hashed", ["", "plain", "$scrypt$ln=30,r=8,p=1$AAAA$AAAA", "$scrypt$ln=15,r=8,p=3$A$AAAA", "$2b$10$abc"]
)
def test_verify_password_other_form_is_no_match(hashed: str) -> None:
    assert not verify_password("x", hashed)
