"""The protobuf modules of the wire, generated from `grpc_api/protos` by `make protos`.

They live in the private descriptor pool of `broadaxe.grpc_api.wire.pool`, so that an SDK, which registers
the same names in the process-wide pool, can be loaded beside them.
"""
