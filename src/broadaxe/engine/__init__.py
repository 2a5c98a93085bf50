"""Triggers become runs, runs become assignments, results become final states."""
