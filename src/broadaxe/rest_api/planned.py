"""Operations that clients know and this server does not have yet: they answer 501 and say what is missing.

One entry a feature: what is missing, then its operations.
"""

from collections.abc import Iterator

from broadaxe.rest_api.handlers.server import refuse_planned
from broadaxe.rest_api.routing import Route

_STABLE = "/api/v1/stable/tenants/{tenant}"
_TENANT = "/api/v1/tenants/{tenant}"

_FEATURES: dict[str, str] = {
    "events of the former API": f"""
        GET {_TENANT}/events
        POST {_TENANT}/events/replay
        POST {_TENANT}/events/cancel
        GET {_TENANT}/events/{{event-with-tenant}}/data
        GET /api/v1/events/{{event}}
        GET /api/v1/events/{{event}}/data
        """,
    "incoming webhooks": f"""
        GET {_STABLE}/webhooks
        POST {_STABLE}/webhooks
        GET {_STABLE}/webhooks/{{v1-webhook}}
        DELETE {_STABLE}/webhooks/{{v1-webhook}}
        POST {_STABLE}/webhooks/{{v1-webhook}}
        PATCH {_STABLE}/webhooks/{{v1-webhook}}
        """,
    "HTTP operators": f"""
        GET {_STABLE}/operators/http
        POST {_STABLE}/operators/http
        GET /api/v1/stable/operators/http/{{v1-http-operator}}
        PATCH /api/v1/stable/operators/http/{{v1-http-operator}}
        DELETE /api/v1/stable/operators/http/{{v1-http-operator}}
        GET {_STABLE}/serverless/endpoints
        POST {_STABLE}/serverless/endpoints
        GET /api/v1/stable/serverless/endpoints/{{v1-serverless-endpoint}}
        PATCH /api/v1/stable/serverless/endpoints/{{v1-serverless-endpoint}}
        DELETE /api/v1/stable/serverless/endpoints/{{v1-serverless-endpoint}}
        """,
    "durable tasks": f"""
        POST {_STABLE}/durable-tasks/branch
        GET {_STABLE}/durable-tasks/{{durable-task}}
        POST /api/v1/stable/tasks/{{task}}/restore
        """,
    "stored streams": f"""
        GET {_STABLE}/streams/payloads
        POST {_STABLE}/streams/payloads
        GET {_STABLE}/streams/topics
        """,
    "stored traces": f"GET {_STABLE}/traces",
    "rate limits": f"""
        GET {_TENANT}/rate-limits
        DELETE {_TENANT}/rate-limits
        """,
    "tenant limits": f"""
        GET {_TENANT}/resource-policy
        GET {_TENANT}/entitlements
        GET {_TENANT}/feature-flags
        """,
    "users and sessions": """
        POST /api/v1/users/login
        GET /api/v1/users/google/start
        GET /api/v1/users/google/callback
        GET /api/v1/users/github/start
        GET /api/v1/users/github/callback
        GET /api/v1/users/slack/callback
        GET /api/v1/users/current
        POST /api/v1/users/password
        POST /api/v1/users/register
        POST /api/v1/users/logout
        GET /api/v1/users/memberships
        GET /api/v1/users/invites
        POST /api/v1/users/invites/accept
        POST /api/v1/users/invites/reject
        GET /api/v1/meta/integrations
        """,
    "managing tenants": f"""
        POST /api/v1/tenants
        PATCH {_TENANT}
        POST {_TENANT}/invites
        GET {_TENANT}/invites
        PATCH {_TENANT}/invites/{{tenant-invite}}
        DELETE {_TENANT}/invites/{{tenant-invite}}
        GET {_TENANT}/members
        PATCH {_TENANT}/members/{{member}}
        DELETE {_TENANT}/members/{{member}}
        """,
    "API tokens over HTTP": f"""
        POST {_TENANT}/api-tokens
        GET {_TENANT}/api-tokens
        POST /api/v1/api-tokens/{{api-token}}
        """,
    "alerts": f"""
        GET {_TENANT}/slack/start
        GET {_TENANT}/slack
        DELETE /api/v1/slack/{{slack}}
        POST /api/v1/sns/{{tenant}}/{{event}}
        GET {_TENANT}/sns
        POST {_TENANT}/sns
        DELETE /api/v1/sns/{{sns}}
        POST {_TENANT}/alerting-email-groups
        GET {_TENANT}/alerting-email-groups
        PATCH /api/v1/alerting-email-groups/{{alert-email-group}}
        DELETE /api/v1/alerting-email-groups/{{alert-email-group}}
        GET {_TENANT}/alerting/settings
        """,
    "the monitoring probe": "POST /api/v1/monitoring/{tenant}/probe",
    "operations of the former API": f"""
        POST /api/v1/workflows/{{workflow}}/trigger
        POST {_TENANT}/workflows/cancel
        GET /api/v1/step-runs/{{step-run}}/events
        GET /api/v1/step-runs/{{step-run}}/archives
        GET {_TENANT}/workflow-runs/{{workflow-run}}/step-run-events
        GET {_TENANT}/workflows/runs
        POST {_TENANT}/workflow-runs/replay
        GET {_TENANT}/workflow-runs/{{workflow-run}}
        GET {_TENANT}/workflow-runs/{{workflow-run}}/shape
        GET {_TENANT}/workflow-runs/{{workflow-run}}/input
        GET {_TENANT}/step-runs/{{step-run}}
        POST {_TENANT}/step-runs/{{step-run}}/rerun
        POST {_TENANT}/step-runs/{{step-run}}/cancel
        GET {_TENANT}/step-runs/{{step-run}}/schema
        GET {_TENANT}/webhook-workers
        POST {_TENANT}/webhook-workers
        DELETE /api/v1/webhook-workers/{{webhook}}
        GET /api/v1/webhook-workers/{{webhook}}/requests
        """,
}


def planned_routes() -> Iterator[Route]:
    """A route for each, whose summary is its refusal."""
    for feature, operations in _FEATURES.items():
        for line in operations.strip().splitlines():
            method, path = line.split()
            yield Route(
                method=method,
                path=path,
                operation=f"{method.lower()}:{path}",
                summary=f"Not available yet: {feature}",
                tag="planned",
                handler=refuse_planned,
                planned=True,
            )
