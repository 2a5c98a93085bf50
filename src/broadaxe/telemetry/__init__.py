"""Traces, metrics, logs and health: the contract, the recorder, OTLP export and propagation."""
