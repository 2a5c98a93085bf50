"""Certificates, receivers and telemetry objects for the exporter's tests."""

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import Telemetry, TelemetryOptions, Tuning
from tests.telemetry.told import told

__all__ = ["told"]

QUICK = Tuning(delay=0.01, call_timeout=5.0, export_timeout=10.0)


class SeededIds(SystemIds):
    """Ids that are the same in every run of a test."""

    def __init__(self, seed: int = 5) -> None:
        self._random = random.Random(seed)

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def make_telemetry(target: str, **settings) -> Telemetry:
    """Telemetry that exports in plaintext and at once, unless told otherwise."""
    given = {"insecure": True, "tuning": QUICK, **settings}
    options = TelemetryOptions(collector_url=target, **given)
    return Telemetry(options, SystemClock(), SeededIds(), strict=True)


def conserved(telemetry: Telemetry) -> bool:
    stats = telemetry.stats()
    return stats.created == stats.exported + sum(stats.dropped.values()) + stats.pending


@asynccontextmanager
async def running(telemetry: Telemetry) -> AsyncIterator[Telemetry]:
    await telemetry.start()
    try:
        yield telemetry
    finally:
        await telemetry.shutdown(0.2)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


MakeReceiver = Callable[..., Awaitable[Receiver]]


@pytest.fixture
async def make_receiver() -> AsyncIterator[MakeReceiver]:
    started: list[Receiver] = []

    async def make(**settings) -> Receiver:
        one = Receiver(**settings)
        await one.start()
        started.append(one)
        return one

    yield make
    for one in started:
        await one.stop()


@dataclass(frozen=True)
class Authority:
    """A private authority with a server's and a client's certificate, all as PEM."""

    certificate: bytes
    server: bytes
    server_key: bytes
    client: bytes
    client_key: bytes

    def credentials(self, *, client_required: bool = False) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(self.server_key, self.server)],
            self.certificate if client_required else None,
            client_required,
        )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, ca: bool
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def authority() -> Authority:
    ca, server, client = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    return Authority(
        _certificate("test authority", ca, "test authority", ca, True),
        _certificate("localhost", server, "test authority", ca, False),
        _pem(server),
        _certificate("client", client, "test authority", ca, False),
        _pem(client),
    )


@pytest.fixture
def never() -> asyncio.Event:
    """An event that is never set: what a hanging collector waits for."""
    return asyncio.Event()
