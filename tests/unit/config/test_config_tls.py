"""TLS material: which combinations stand, and what is told of the others."""

from pathlib import Path

import pytest

from broadaxe.config import SettingsError, load_settings
from broadaxe.config.tls import ClientTls, ServerTls, client_tls, server_tls

PEM = "-----BEGIN THING-----\nabc\n-----END THING-----\n"


def server(**environ: str) -> ServerTls | None:
    return server_tls(load_settings(environ).settings)


def client(**environ: str) -> ClientTls | None:
    return client_tls(load_settings(environ).settings)


def test_server_tls_insecure_ignores_everything_else() -> None:
    assert (
        server(SERVER_GRPC_INSECURE="t", SERVER_TLS_STRATEGY="mtls", SERVER_TLS_CERT_FILE="/nowhere") is None
    )


def test_server_tls_without_certificate_names_both_settings() -> None:
    with pytest.raises(SettingsError) as caught:
        server()
    assert len(caught.value.lines) == 2
    assert "SERVER_TLS_CERT: it or SERVER_TLS_CERT_FILE must be set" in str(caught.value)
    assert "SERVER_TLS_KEY: it or SERVER_TLS_KEY_FILE must be set" in str(caught.value)


def test_server_tls_inline_wins_over_file_and_takes_escaped_line_breaks() -> None:
    made = server(
        SERVER_TLS_CERT=PEM.replace("\n", "\\n"), SERVER_TLS_CERT_FILE="/nowhere", SERVER_TLS_KEY=PEM
    )
    assert made is not None
    assert made.cert == PEM.encode()
    assert made.client_ca is None
    assert made.min_version == "1.3"
    assert "abc" not in repr(made).replace(repr(made.cert), "")


def test_server_tls_mtls_needs_a_root_too() -> None:
    with pytest.raises(SettingsError, match="SERVER_TLS_ROOT_CA: it or SERVER_TLS_ROOT_CA_FILE must be set"):
        server(SERVER_TLS_STRATEGY="mtls", SERVER_TLS_CERT=PEM, SERVER_TLS_KEY=PEM)
    made = server(SERVER_TLS_STRATEGY="mtls", SERVER_TLS_CERT=PEM, SERVER_TLS_KEY=PEM, SERVER_TLS_ROOT_CA=PEM)
    assert made is not None
    assert made.client_ca == PEM.encode()


def test_server_tls_files_are_read_and_a_bad_one_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_text(PEM)
    bad.write_text("hello")
    made = server(SERVER_TLS_CERT_FILE=str(good), SERVER_TLS_KEY_FILE=str(good))
    assert made is not None
    assert made.key == PEM.encode()
    with pytest.raises(SettingsError) as caught:
        server(SERVER_TLS_CERT_FILE=str(bad), SERVER_TLS_KEY_FILE=str(tmp_path / "none.pem"))
    assert "SERVER_TLS_CERT_FILE: this is not PEM text" in str(caught.value)
    assert "SERVER_TLS_KEY_FILE: " in str(caught.value)
    assert "cannot be read: No such file" in str(caught.value)


def test_client_tls_inherits_the_servers_strategy() -> None:
    assert client(SERVER_GRPC_INSECURE="t") is None
    made = client(SERVER_TLS_ROOT_CA=PEM)
    assert made == ClientTls(PEM.encode(), None, None, "")


def test_client_tls_of_its_own() -> None:
    own = {"SERVER_INTERNAL_CLIENT_BASE_INHERIT_BASE": "f"}
    assert client(**own, SERVER_INTERNAL_CLIENT_BASE_STRATEGY="none") is None
    made = client(**own, SERVER_INTERNAL_CLIENT_TLS_SERVER_NAME="engine")
    assert made == ClientTls(None, None, None, "engine")
    with pytest.raises(SettingsError, match="SERVER_INTERNAL_CLIENT_TLS_BASE_CERT: it or"):
        client(**own, SERVER_INTERNAL_CLIENT_BASE_STRATEGY="mtls")
