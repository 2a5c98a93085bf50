"""The `broadaxe` command line."""

from broadaxe.telemetry.grpc_noise import silence_grpc_core

# Before anything imports grpc, since its core reads the environment once.
silence_grpc_core()
