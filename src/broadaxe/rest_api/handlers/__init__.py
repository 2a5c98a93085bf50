"""One file a resource: decode, ask, encode."""
