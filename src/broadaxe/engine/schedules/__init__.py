"""Crons and planned runs: what is due, and the runs that are started for it."""
