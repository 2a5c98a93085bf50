"""A private authority with a server's and a client's certificate, for TLS in tests."""

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broadaxe.clock import SystemClock

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Everything as PEM; the server's certificate is for `localhost` and 127.0.0.1. Valid for a day."""

    certificate: bytes
    server: bytes
    server_key: bytes
    client: bytes
    client_key: bytes
    name: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @staticmethod
    def make(
        name: str = "Test Authority",
        *,
        host: str = "localhost",
        address: str = "127.0.0.1",
        valid_for: timedelta = _DAY,
    ) -> "Authority":
        """A new one; nobody else trusts it. `valid_for`: the server's certificate, negative = expired."""
        ca, server, client = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        return Authority(
            certificate=_certificate(name, ca, name, ca, is_authority=True),
            server=_certificate("localhost", server, name, ca, names=(host, address), valid_for=valid_for),
            server_key=_key(server),
            client=_certificate("client", client, name, ca),
            client_key=_key(client),
            name=name,
            key=ca,
        )

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """One more certificate, for the same addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _certificate(name, key, self.name, self.key), _key(key)

    def credentials(self, *, client_required: bool = False) -> grpc.ServerCredentials:
        """For a gRPC server; mutual TLS when `client_required`."""
        return grpc.ssl_server_credentials(
            [(self.server_key, self.server)],
            self.certificate if client_required else None,
            client_required,
        )

    def write(self, folder: Path) -> dict[str, Path]:
        """All five as files `ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`, by name."""
        texts = {
            "ca.crt": self.certificate,
            "server.crt": self.server,
            "server.key": self.server_key,
            "client.crt": self.client,
            "client.key": self.client_key,
        }
        for name, text in texts.items():
            (folder / name).write_bytes(text)
        return {name: folder / name for name in texts}


def _key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
    names: tuple[str, str] = ("localhost", "127.0.0.1"),
    valid_for: timedelta = _DAY,
) -> bytes:
    now = SystemClock().now()
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    host, address = names
    alternatives = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address(address))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + valid_for)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        # Without these Python 3.13 and newer refuse it.
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
