"""The whole examination, from the settings to the collector."""

from collections.abc import Callable, Collection

from broadaxe.app.doctor import certificates, collector, database, ports
from broadaxe.app.doctor.findings import Area, Finding, Level
from broadaxe.app.telemetry import telemetry_options
from broadaxe.auth.keys import load_keysets
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.config.errors import SettingsError
from broadaxe.config.loader import Loaded
from broadaxe.config.settings import Settings
from broadaxe.config.tls import server_tls


def refused(error: SettingsError) -> list[Finding]:
    """Settings that cannot be read at all."""
    return [Finding("settings", one.name, Level.SETTING, str(one)) for one in error.problems]


async def examine(loaded: Loaded, within: float, areas: Collection[Area] = tuple(Area)) -> list[Finding]:
    """Looks at these areas; `within` bounds each answer of the collector, in seconds."""
    settings, clock, ids = loaded.settings, SystemClock(), SystemIds()
    findings: list[Finding] = []
    if Area.SETTINGS in areas:
        findings += _settings(loaded)
    if Area.DATABASE in areas:
        findings += await database.examine(settings, clock, ids)
    if Area.PORTS in areas:
        findings += await ports.examine(settings)
    if Area.CERTIFICATES in areas:
        findings += certificates.of_grpc(settings, clock.now())
    try:
        options = telemetry_options(settings, "doctor")
    except SettingsError as error:
        # Said among the settings, when these are looked at.
        return findings if Area.SETTINGS in areas else findings + refused(error)
    if Area.CERTIFICATES in areas:
        findings += certificates.of_export(options, clock.now())
    if Area.COLLECTOR in areas:
        findings += await collector.examine(options, clock, ids, within)
    return findings


def _settings(loaded: Loaded) -> list[Finding]:
    settings = loaded.settings
    findings = [Finding("settings", "ignored", Level.WARNING, text) for text in loaded.warnings]
    checks: tuple[Callable[[Settings], object], ...] = (
        server_tls,
        lambda given: load_keysets(given.encryption),
        lambda given: telemetry_options(given, "doctor"),
    )
    for check in checks:
        try:
            check(settings)
        except SettingsError as error:
            findings += refused(error)
    if not any(finding.level is Level.SETTING for finding in findings):
        findings.insert(0, Finding("settings", "all", Level.OK, "a server would start with these settings"))
    return findings
