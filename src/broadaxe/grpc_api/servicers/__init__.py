"""One servicer a gRPC service: decode, call the engine, encode. No rule and no SQL lives here."""
