"""The certificates: valid for how long, for which names, and whether key and certificate fit."""

from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from broadaxe.app.doctor.findings import Finding, Level
from broadaxe.config.errors import SettingsError
from broadaxe.config.settings import Settings
from broadaxe.config.tls import ServerTls, server_tls
from broadaxe.telemetry.options import TelemetryOptions

SOON = timedelta(days=14)


def of_grpc(settings: Settings, now: datetime) -> list[Finding]:
    """The gRPC server's own; nothing where the settings do not stand."""
    try:
        tls = server_tls(settings)
    except SettingsError:
        return []
    if tls is None:
        return [Finding("certificates", "grpc", Level.OK, "gRPC is plaintext: no certificate is needed")]
    return _grpc(tls, settings.grpc.broadcast_address, now)


def of_export(options: TelemetryOptions, now: datetime) -> list[Finding]:
    """Those for the way to the collector."""
    findings = []
    for name, text in (
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", options.tuning.certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", options.tuning.client_certificate),
    ):
        if text is not None:
            findings += _dates(name, x509.load_pem_x509_certificates(text), now)
    return findings


def _grpc(tls: ServerTls, broadcast: str, now: datetime) -> list[Finding]:
    try:
        chain = x509.load_pem_x509_certificates(tls.cert)
        key = load_pem_private_key(tls.key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = f"SERVER_TLS_CERT or SERVER_TLS_KEY cannot be read: {error}"
        return [Finding("certificates", "SERVER_TLS_CERT", Level.PROBLEM, text)]
    findings = _dates("SERVER_TLS_CERT", chain, now)
    pem = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*pem) != key.public_key().public_bytes(*pem):
        text = "SERVER_TLS_KEY is not the key of SERVER_TLS_CERT"
        findings.append(Finding("certificates", "SERVER_TLS_KEY", Level.PROBLEM, text))
    host = broadcast.rpartition(":")[0].strip("[]")
    if not _carries(chain[0], host):
        text = (
            f"SERVER_TLS_CERT is not for {host}, which clients dial (SERVER_GRPC_BROADCAST_ADDRESS): they "
            "need HATCHET_CLIENT_TLS_SERVER_NAME"
        )
        findings.append(Finding("certificates", "SERVER_TLS_CERT", Level.WARNING, text))
    return findings


def _dates(name: str, chain: list[x509.Certificate], now: datetime) -> list[Finding]:
    first = min(chain, key=lambda one: one.not_valid_after_utc)
    end = first.not_valid_after_utc
    if any(one.not_valid_before_utc > now for one in chain):
        return [
            Finding(
                "certificates", name, Level.PROBLEM, f"{name} is not valid yet: check this machine's clock"
            )
        ]
    if end <= now:
        return [Finding("certificates", name, Level.PROBLEM, f"{name} expired on {end:%Y-%m-%d}: renew it")]
    left = end - now
    text = f"{name} is valid until {end:%Y-%m-%d} ({left.days} days)"
    level = Level.WARNING if left < SOON else Level.OK
    return [Finding("certificates", name, level, text + (": renew it soon" if left < SOON else ""))]


def _carries(certificate: x509.Certificate, host: str) -> bool:
    """Whether the certificate is for this host name or address."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wanted = host.lower()
    found = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return wanted in found or f"*.{wanted.partition('.')[2]}" in found
