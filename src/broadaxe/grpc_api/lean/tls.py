"""TLS for the listener, from the certificates in the settings."""

import ssl
import tempfile
from pathlib import Path

from broadaxe.config.tls import ServerTls

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """A context for HTTP/2; raises `ssl.SSLError` or `ValueError` for certificates that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS.get(tls.min_version, ssl.TLSVersion.TLSv1_3)
    context.set_alpn_protocols(["h2"])
    # HTTP/2 forbids both with TLS 1.2, and a client could make much work with the second.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    # The module reads certificates from files alone.
    with tempfile.TemporaryDirectory(prefix="broadaxe-tls-") as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_bytes(tls.cert)
        key.touch(mode=0o600)
        key.write_bytes(tls.key)
        context.load_cert_chain(certificate, key)
    if tls.client_ca is not None:
        context.load_verify_locations(cadata=tls.client_ca.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context
