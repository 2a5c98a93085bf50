"""Fixtures of the tests of keys and tokens."""

from auth_fixtures import clock, issuer, keysets, texts

__all__ = ["clock", "issuer", "keysets", "texts"]
