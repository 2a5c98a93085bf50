"""A gRPC server transport of our own: HTTP/2 on asyncio, as cheap as Python allows.

`server.LeanServer` takes the place of `transport_grpcio.GrpcioServer`. Layers, lowest first: `frames`,
`huffman` and `hpack` are wire formats; `head` and `inbound` turn them into requests; `sender` writes under
flow control; `stream` and `connection` hold HTTP/2's states; `calls` runs handlers through the pipeline.
"""
