"""Frozen values, enums, errors and the pure state machines. No I/O, clock, randomness or logging."""
