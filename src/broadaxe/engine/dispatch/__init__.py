"""Worker sessions, result streams and event streams."""
