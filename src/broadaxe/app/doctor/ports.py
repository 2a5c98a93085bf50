"""The ports: free, taken by a Broadaxe that runs, or taken by something else."""

import asyncio
import errno
import socket
from contextlib import suppress
from dataclasses import dataclass

from broadaxe.app.doctor.findings import Finding, Level
from broadaxe.app.shared import local_address
from broadaxe.config.settings import Settings

_PATIENCE = 2.0
"""Seconds for the answer of whoever has a port."""


@dataclass(frozen=True, slots=True)
class _Port:
    name: str
    variable: str
    host: str
    number: int
    path: str
    """What a Broadaxe answers there over HTTP; empty for gRPC."""


def _ports(settings: Settings) -> list[_Port]:
    runtime, grpc, prometheus = settings.runtime, settings.grpc, settings.prometheus
    found = [
        _Port("grpc", "SERVER_GRPC_PORT", grpc.bind_address, grpc.port, ""),
        _Port("rest", "SERVER_PORT", runtime.bind_address, runtime.port, "/api/live"),
    ]
    if runtime.healthcheck:
        found.append(
            _Port(
                "health",
                "SERVER_HEALTHCHECK_PORT",
                runtime.healthcheck_bind_address,
                runtime.healthcheck_port,
                "/version",
            )
        )
    if prometheus.enabled:
        address = prometheus.address
        path = prometheus.path
        found.append(_Port("metrics", "SERVER_PROMETHEUS_ADDRESS", address.host, address.port, path))
    return [port for port in found if port.number]


async def examine(settings: Settings) -> list[Finding]:
    """Tries to bind each port that the settings name."""
    ports = _ports(settings)
    errors = {port.name: _bind(port) for port in ports}
    ours = {port.name: await _ours(port) for port in ports if errors[port.name] == errno.EADDRINUSE}
    # gRPC is not asked: the same process answers on the health port.
    if "grpc" in ours:
        ours["grpc"] = ours.get("health", False) or ours.get("rest", False)
    findings = [_finding(port, errors[port.name], ours.get(port.name, False)) for port in ports]
    findings.extend(_shared(ports))
    return findings


def _shared(ports: list[_Port]) -> list[Finding]:
    found = []
    for number in sorted({port.number for port in ports}):
        names = [port.variable for port in ports if port.number == number]
        if len(names) > 1:
            text = f"{' and '.join(names)} name the same port {number}"
            found.append(Finding("ports", "shared", Level.PROBLEM, text))
    return found


def _bind(port: _Port) -> int:
    """0 when the port is free, else the error's number."""
    host = port.host.strip("[]") or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port.number))
    except OSError as error:
        return error.errno or -1
    return 0


async def _ours(port: _Port) -> bool:
    """Whether what listens there answers as this program does."""
    if not port.path:
        return False
    address = local_address(port.host, port.number)
    host, _, number = address.rpartition(":")
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(number))
            try:
                writer.write(
                    f"GET {port.path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
                )
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    return False


def _finding(port: _Port, error: int, ours: bool) -> Finding:
    where = f"{port.variable}: {port.host or '*'}:{port.number}"
    if error == 0:
        return Finding("ports", port.name, Level.OK, f"{where} is free")
    if error == errno.EADDRINUSE and ours:
        return Finding("ports", port.name, Level.OK, f"{where} is in use by a Broadaxe that runs")
    if error == errno.EADDRINUSE:
        return Finding("ports", port.name, Level.PROBLEM, f"{where} is in use by another program")
    if error == errno.EACCES:
        return Finding("ports", port.name, Level.PROBLEM, f"{where} needs privileges that this user lacks")
    if error == errno.EADDRNOTAVAIL:
        return Finding("ports", port.name, Level.PROBLEM, f"{where} is no address of this machine")
    return Finding(
        "ports", port.name, Level.PROBLEM, f"{where} cannot be listened on: {errno.errorcode.get(error)}"
    )
