"""What `OTEL_*` may tune beside the page's settings.

Endpoint, switch, service name and sampler come from those settings alone, because clusters inject
`OTEL_EXPORTER_OTLP_ENDPOINT` and its like into every container; of these variables only batch sizes,
time-outs, compression, certificates and further resource attributes are read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `OTEL_*` may tune; the defaults hold a burst of a second at full load.

    Raises ValueError with one line that begins with the variable when a certificate or key is not one.
    """

    queue_size: int = 32_768
    """Spans that may wait, those being sent included (OTEL_BSP_MAX_QUEUE_SIZE)."""
    queue_bytes: int = 32 * MIB
    """Bytes that may wait; no variable."""
    batch_size: int = 2_048
    """Spans in one request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)."""
    batch_bytes: int = 2 * MIB
    """Bytes in one request, under a collector's usual limit of 4 MiB; no variable."""
    delay: float = 0.5
    """Seconds a span waits for company (OTEL_BSP_SCHEDULE_DELAY, milliseconds)."""
    export_timeout: float = 30.0
    """Seconds for one batch with all its retries (OTEL_BSP_EXPORT_TIMEOUT, milliseconds)."""
    call_timeout: float = 10.0
    """Seconds for one call (OTEL_EXPORTER_OTLP_TIMEOUT, milliseconds)."""
    metric_interval: float = 15.0
    """Seconds between metric exports (OTEL_METRIC_EXPORT_INTERVAL, milliseconds)."""
    metric_timeout: float = 30.0
    """Seconds for one export of metrics with all its retries (OTEL_METRIC_EXPORT_TIMEOUT, milliseconds)."""
    concurrency: int = 2
    """Batches under way at once; no variable."""
    gzip: bool = False
    """OTEL_EXPORTER_OTLP_COMPRESSION=gzip."""
    certificate: bytes | None = None
    """PEM of the authorities to trust instead of the system's (OTEL_EXPORTER_OTLP_CERTIFICATE, a file)."""
    client_certificate: bytes | None = None
    """PEM chain (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, a file)."""
    client_key: bytes | None = None
    """PEM key (OTEL_EXPORTER_OTLP_CLIENT_KEY, a file)."""
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    """OTEL_RESOURCE_ATTRIBUTES; never overrides what the settings say."""

    def __post_init__(self) -> None:
        _check_pem("OTEL_EXPORTER_OTLP_CERTIFICATE", self.certificate, load_pem_x509_certificates)
        chain = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
        _check_pem(chain, self.client_certificate, load_pem_x509_certificates)
        _check_pem("OTEL_EXPORTER_OTLP_CLIENT_KEY", self.client_key, _load_key)
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError(f"{chain} and OTEL_EXPORTER_OTLP_CLIENT_KEY belong together")


def _check_pem(name: str, content: bytes | None, load: Callable[[bytes], object]) -> None:
    # gRPC would complain at every handshake instead, and never clearly.
    if content is None:
        return
    try:
        load(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{name} does not name a file with what it should hold in PEM form") from None


def _load_key(content: bytes) -> object:
    return load_pem_private_key(content, password=None)


def parse_resource_attributes(text: str) -> dict[str, str]:
    """`key=value` pairs separated by commas, values percent-encoded; what is not a pair is left out."""
    pairs = (item.partition("=") for item in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals and key.strip()}
