"""A method as the transport sees it."""

from broadaxe.grpc_api.method import Kind, Method


class Route:
    """A method, with what is asked of it in every call."""

    __slots__ = ("method", "name", "single", "streams_in", "streams_out")

    def __init__(self, method: Method) -> None:
        self.method = method
        self.name = method.full_name
        self.streams_in = method.kind.streams_in
        self.streams_out = method.kind.streams_out
        self.single = method.kind is Kind.UNARY_UNARY
