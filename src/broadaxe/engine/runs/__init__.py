"""Runs of several steps: what follows from the end of a step, from an event, from time."""
