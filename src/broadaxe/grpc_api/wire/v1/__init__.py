"""The `v1` package of the wire."""
