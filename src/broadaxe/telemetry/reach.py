"""What stands between this process and the collector, found out below gRPC: name, port, TLS."""

import asyncio
import enum
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

from broadaxe.telemetry.collector import system_roots
from broadaxe.telemetry.options import TelemetryOptions


class Outcome(enum.Enum):
    """What became of a request. The values are for programs."""

    TAKEN = "taken"
    REJECTED = "rejected"
    UNRESOLVABLE = "unresolvable"
    DOWN = "down"
    UNREACHABLE = "unreachable"
    SPEAKS_TLS = "speaks_tls"
    SPEAKS_PLAINTEXT = "speaks_plaintext"
    UNTRUSTED = "untrusted"
    WRONG_NAME = "wrong_name"
    EXPIRED = "expired"
    WANTS_CLIENT_CERTIFICATE = "wants_client_certificate"
    AUTH_REFUSED = "auth_refused"
    NOT_OTLP = "not_otlp"
    SLOW = "slow"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Told:
    """The outcome in one sentence."""

    outcome: Outcome
    text: str


async def look(options: TelemetryOptions, within: float) -> Told | None:
    """What is wrong below gRPC: name, port, TLS. None when nothing is found there."""
    target = options.target
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(host, int(port))
            await _close(writer)
    except socket.gaierror:
        return Told(Outcome.UNRESOLVABLE, f"the host name of {target} cannot be resolved")
    except ConnectionRefusedError:
        return Told(
            Outcome.DOWN, f"nothing listens at {target}: connection refused; is the collector running?"
        )
    except (TimeoutError, OSError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        return Told(Outcome.UNREACHABLE, f"{target} cannot be reached: {why}; is a firewall in between?")
    if options.insecure:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        trusting.set_alpn_protocols(["h2"])
        wrong = await _handshake(host, int(port), trusting, within)
        if wrong is None or isinstance(wrong, ConnectionAbortedError):
            return Told(
                Outcome.SPEAKS_TLS,
                f"{target} speaks TLS, but SERVER_OTEL_INSECURE=true asks for plaintext: set it to false",
            )
        return None
    return _tls_failure(options, await _handshake(host, int(port), _context(options), within))


def _context(options: TelemetryOptions) -> ssl.SSLContext:
    roots = options.tuning.certificate or system_roots()
    context = ssl.create_default_context(cadata=roots.decode("ascii", "ignore") if roots else None)
    context.set_alpn_protocols(["h2"])
    # gRPC is not as strict as newer Pythons are: what it takes must not be called untrusted here.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def _handshake(host: str, port: int, context: ssl.SSLContext, within: float) -> Exception | None:
    """The error of a TLS connection; None when it holds. A refused client shows only after it."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except (TimeoutError, OSError) as error:
        return error
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(within, 0.5)):
                if not await reader.read(1):
                    return ConnectionAbortedError()
    except OSError as error:
        return error
    finally:
        await _close(writer)
    return None


async def _close(writer: asyncio.StreamWriter) -> None:
    # Nothing is in flight, and a server that does not answer the end of TLS would be waited for.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


_VERIFY = {
    10: (Outcome.EXPIRED, "its certificate has expired: renew it"),
    9: (Outcome.EXPIRED, "its certificate is not valid yet: check the clocks"),
    62: (Outcome.WRONG_NAME, "its certificate is for another name: use a name that it carries"),
    64: (Outcome.WRONG_NAME, "its certificate is for another address: use a name or address that it carries"),
}
"""By OpenSSL's number of the failed check."""


def _tls_failure(options: TelemetryOptions, error: Exception | None) -> Told | None:
    target = options.target
    if error is None:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        outcome, why = _VERIFY.get(
            error.verify_code,
            (
                Outcome.UNTRUSTED,
                f"its certificate is not trusted ({error.verify_message}): name its authority in "
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
            ),
        )
        return Told(outcome, f"{target}: {why}")
    text = str(error).upper()
    # Some servers send an alert, others close the connection that has just been made.
    refused = isinstance(error, ConnectionAbortedError)
    if refused or "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text or "BAD_CERTIFICATE" in text:
        return Told(
            Outcome.WANTS_CLIENT_CERTIFICATE,
            f"{target} wants a client certificate that it trusts: set "
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
        )
    if isinstance(error, ssl.SSLError | ConnectionError):
        return Told(
            Outcome.SPEAKS_PLAINTEXT,
            f"{target} does not speak TLS: set SERVER_OTEL_INSECURE=true, or give it a certificate",
        )
    return None
