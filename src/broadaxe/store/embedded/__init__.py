"""Runs the bundled PostgreSQL binaries as a child process that never outlives us."""
