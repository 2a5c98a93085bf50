"""The certificates of the gRPC server and of the API's own client, from text or files, checked together."""

from dataclasses import dataclass, field
from pathlib import Path

from broadaxe.config.errors import Problem, SettingsError, shown
from broadaxe.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a TLS listener needs, as PEM; `client_ca` is set for mutual TLS: clients must lead to it."""

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    min_version: str


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a TLS client needs, as PEM; without `root_ca` the system's roots count.

    `server_name` is the name to expect in the server's certificate, empty for the host that is dialled.
    """

    root_ca: bytes | None
    cert: bytes | None
    key: bytes | None = field(repr=False)
    server_name: str


@dataclass(frozen=True, slots=True)
class _Source:
    """One PEM text, inline or in a file; the inline text wins."""

    variable: str
    inline: str
    file: str

    def read(self, problems: list[Problem], *, needed_by: str = "") -> bytes | None:
        """The text, None when there is none; what is wrong with it is added to `problems`."""
        if self.inline:
            # an environment variable often carries its line breaks as \n
            return self._checked(self.inline.replace("\\n", "\n").encode(), self.variable, problems)
        variable = f"{self.variable}_FILE"
        if not self.file:
            if needed_by:
                problems.append(
                    Problem(self.variable, "", f"it or {variable} must be set, {needed_by} needs it")
                )
            return None
        try:
            text = Path(self.file).read_bytes()
        except OSError as error:
            path = shown(self.file, secret=False)
            problems.append(Problem(variable, "", f"{path} cannot be read: {error.strerror}"))
            return None
        return self._checked(text, variable, problems)

    def _checked(self, text: bytes, variable: str, problems: list[Problem]) -> bytes | None:
        if b"-----BEGIN " in text:
            return text
        problems.append(Problem(variable, "", "this is not PEM text (it has no BEGIN line)"))
        return None


def server_tls(settings: Settings) -> ServerTls | None:
    """The server's certificates, None for plaintext; `SettingsError` for a combination that cannot work."""
    strategy = settings.grpc_security
    if strategy == "plaintext":
        return None
    problems: list[Problem] = []
    needed_by = f"SERVER_TLS_STRATEGY={strategy} (or set SERVER_GRPC_INSECURE=true for plaintext)"
    cert, key, root_ca = _server_sources(settings)
    cert_text = cert.read(problems, needed_by=needed_by)
    key_text = key.read(problems, needed_by=needed_by)
    client_ca = root_ca.read(problems, needed_by=needed_by) if strategy == "mtls" else None
    if problems or cert_text is None or key_text is None:
        raise SettingsError(tuple(problems))
    return ServerTls(cert_text, key_text, client_ca, settings.tls.min_version)


def client_tls(settings: Settings) -> ClientTls | None:
    """How the API process speaks to the engine, None for plaintext; raises `SettingsError`."""
    client = settings.internal_client
    if client.inherit_base:
        strategy = settings.grpc_security
        cert, key, root_ca = _server_sources(settings)
    else:
        strategy = "plaintext" if client.strategy == "none" else client.strategy
        prefix = "SERVER_INTERNAL_CLIENT_TLS_BASE"
        cert = _Source(f"{prefix}_CERT", client.cert, client.cert_file)
        key = _Source(f"{prefix}_KEY", client.key, client.key_file)
        root_ca = _Source(f"{prefix}_ROOT_CA", client.root_ca, client.root_ca_file)
    if strategy == "plaintext":
        return None
    problems: list[Problem] = []
    root_text = root_ca.read(problems)
    cert_text = key_text = None
    if strategy == "mtls":
        cert_text = cert.read(problems, needed_by="mtls to the engine")
        key_text = key.read(problems, needed_by="mtls to the engine")
    if problems:
        raise SettingsError(tuple(problems))
    return ClientTls(root_text, cert_text, key_text, client.tls_server_name)


def _server_sources(settings: Settings) -> tuple[_Source, _Source, _Source]:
    tls = settings.tls
    return (
        _Source("SERVER_TLS_CERT", tls.cert, tls.cert_file),
        _Source("SERVER_TLS_KEY", tls.key, tls.key_file),
        _Source("SERVER_TLS_ROOT_CA", tls.root_ca, tls.root_ca_file),
    )
