"""Background services, one a file: start, stop, health."""
