"""Values files that cover the chart's branches."""

from tests.deploy.chart import EXTERNAL, Object, merged

OTEL: Object = {
    "otel": {
        "collectorURL": "collector.example.com:4317",
        "insecure": True,
        "traceIdRatio": 0.25,
        "metricsEnabled": True,
        "collectorAuth": {"existingSecret": "collector-auth"},
        "certificate": {"existingSecret": "collector-ca", "key": "root.pem"},
    }
}
MONITORED: Object = {
    "prometheus": {
        "enabled": True,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True},
    },
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Broadaxe"}},
}
INGRESS: Object = {
    "className": "nginx",
    "enabled": True,
    "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"},
    "hosts": [{"host": "engine.example.com"}, {"host": "b.example.com", "paths": [{"path": "/api"}]}],
    "tls": [{"hosts": ["engine.example.com"], "secretName": "engine-tls"}],
}
POD: Object = {
    "ingress": INGRESS,
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "jobs"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "extraVolumes": [{"name": "tls", "secret": {"secretName": "grpc-tls"}}],
    "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    "deploymentEnvFrom": [{"secretRef": {"name": "more"}}, {"configMapRef": {"name": "m", "optional": True}}],
}
EVERYTHING: Object = merged(
    EXTERNAL,
    OTEL,
    MONITORED,
    {
        "engine": {"replicaCount": 2, **POD, "env": {"SERVER_TLS_KEY": "pem", "SERVER_GRPC_RATE_LIMIT": 500}},
        "api": {**POD, "autoscaling": {"enabled": True}, "env": {"SERVER_PORT_NAME": True}},
        "image": {"registry": "registry.example.com/team/", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "pull"}],
        "networkPolicy": {"enabled": True, "engineFrom": [{"namespaceSelector": {}}]},
        "serviceAccount": {"annotations": {"iam.example.com/role": "broadaxe"}},
        "rabbitmq": {"enabled": True, "auth": {"username": "hatchet"}},
        "caddy": {"enabled": True},
    },
)
PARTS = ("grpc", "controllers", "scheduler")
"""What hatchet-ha has in the place of hatchet-stack's `engine`."""


def of_parts(values: Object) -> Object:
    """Values of hatchet-stack as values of hatchet-ha: what the engine gets, each part gets."""
    result = {key: value for key, value in values.items() if key != "engine"}
    if "engine" in values:
        result |= dict.fromkeys(PARTS, values["engine"])
    return result


JOBS = ("quickstartJob", "migrationJob", "seedJob", "workerTokenJob")

MATRIX: dict[str, Object] = {
    "nothing": {},
    "external": EXTERNAL,
    "otel": OTEL,
    "otel by env": merged(
        OTEL, {"sharedConfig": {"env": {"SERVER_OTEL_COLLECTOR_AUTH": "Bearer x", "K8S_POD_NAME": "fixed"}}}
    ),
    "monitored": MONITORED,
    "everything": EVERYTHING,
    "trial with all": merged(EVERYTHING, {"postgres": {"enabled": True, "persistence": {"enabled": False}}}),
    "trial with a password": {
        "postgres": {"auth": {"password": "p"}, "persistence": {"storageClass": "fast"}}
    },
    "trial with a secret": {
        "postgres": {"auth": {"existingSecret": "pg"}},
        "networkPolicy": {"enabled": True},
    },
    "no shared values": merged(
        {"sharedConfig": {"enabled": False}}, {"networkPolicy": {"enabled": True}}, MONITORED
    ),
    "no jobs": {"api": {job: {"enabled": False} for job in JOBS}},
    "no frontend": {
        "frontend": {"enabled": False},
        "topologySpread": {"enabled": False},
        "api": {"podDisruptionBudget": {"enabled": False}},
    },
    **{
        f"only {job}": merged(EXTERNAL, {"api": {other: {"enabled": other == job} for other in JOBS}})
        for job in JOBS
    },
}
