"""Fakes and fault injectors for tests, ours and users'."""
