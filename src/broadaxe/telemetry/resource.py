"""Which process speaks: the resource attributes of every span and metric."""

import os
import platform
import socket
import sys
from collections.abc import Mapping
from importlib import metadata

from broadaxe.clock import Ids
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.vocabulary import AttrValue


def product_version() -> str:
    """The installed version of this distribution; `0.0.0` when run from a bare tree."""
    try:
        return metadata.version("broadaxe")
    except metadata.PackageNotFoundError:
        return "0.0.0"


def build_resource(options: TelemetryOptions, ids: Ids) -> Mapping[str, AttrValue]:
    """All resource attributes; those the settings say win over OTEL_RESOURCE_ATTRIBUTES."""
    version = product_version()
    detected: dict[str, AttrValue] = {
        "service.version": version,
        "service.instance.id": str(ids.uuid4()),
        "host.name": socket.gethostname(),
        "host.arch": platform.machine(),
        "os.type": sys.platform,
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
    }
    fixed: dict[str, AttrValue] = {
        "service.name": options.service_name or "server",
        "library.language": "python",
        "telemetry.sdk.name": "broadaxe",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": version,
    }
    if options.k8s_pod_name:
        fixed["k8s.pod.name"] = options.k8s_pod_name
    if options.k8s_namespace:
        fixed["k8s.namespace.name"] = options.k8s_namespace
    return {**detected, **options.tuning.resource_attributes, **fixed}
