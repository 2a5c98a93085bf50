"""CEL expressions: compiled once, cached, bounded in size, depth and time."""
