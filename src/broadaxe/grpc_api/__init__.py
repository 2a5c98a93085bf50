"""The gRPC surface: decode, authorise, call, encode. No rule, no SQL."""
