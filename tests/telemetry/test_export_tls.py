"""TLS by default, plaintext only when asked for, and no fallback from one to the other."""

import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.runtime import Telemetry, Tuning
from tests.telemetry.conftest import Authority, MakeReceiver, conserved, make_telemetry, running

BRIEF = {"delay": 0.01, "call_timeout": 2.0, "export_timeout": 2.0}
"""For a collector that never takes anything: time for one handshake."""
PATIENT = {"delay": 0.01}


async def exported(telemetry: Telemetry) -> int:
    async with running(telemetry):
        telemetry.tracer.start(T.SPAN_FLUSH).end()
        assert await telemetry.flush(30)
        assert conserved(telemetry)
        return telemetry.stats().exported


async def test_tls_private_authority_is_trusted_when_given(
    make_receiver: MakeReceiver, authority: Authority
) -> None:
    receiver = await make_receiver(credentials=authority.credentials())
    tuning = Tuning(**PATIENT, certificate=authority.certificate)
    assert await exported(make_telemetry(receiver.target, insecure=False, tuning=tuning)) == 1
    assert len(receiver.spans) == 1


async def test_tls_unknown_authority_is_refused(
    make_receiver: MakeReceiver, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await make_receiver(credentials=authority.credentials())
    assert await exported(make_telemetry(receiver.target, insecure=False, tuning=Tuning(**BRIEF))) == 0
    assert not receiver.spans
    assert "not trusted" in caplog.text


async def test_tls_plaintext_collector_is_refused(
    make_receiver: MakeReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await make_receiver()
    assert await exported(make_telemetry(receiver.target, insecure=False, tuning=Tuning(**BRIEF))) == 0
    assert not receiver.spans
    assert "SERVER_OTEL_INSECURE=true" in caplog.text


async def test_insecure_against_tls_collector_fails_and_is_counted(
    make_receiver: MakeReceiver, authority: Authority
) -> None:
    receiver = await make_receiver(credentials=authority.credentials())
    assert await exported(make_telemetry(receiver.target, insecure=True, tuning=Tuning(**BRIEF))) == 0


@pytest.mark.parametrize("client", [True, False])
async def test_tls_client_certificate_is_shown_when_given(
    make_receiver: MakeReceiver, authority: Authority, client: bool
) -> None:
    receiver = await make_receiver(credentials=authority.credentials(client_required=True))
    shown = {"client_certificate": authority.client, "client_key": authority.client_key} if client else {}
    tuning = Tuning(**(PATIENT if client else BRIEF), certificate=authority.certificate, **shown)
    assert await exported(make_telemetry(receiver.target, insecure=False, tuning=tuning)) == int(client)
