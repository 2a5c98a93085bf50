"""The dashboard of the API server."""

from dashboards.panels import Panel, dashboard, quantile, quantiles, rate, share, stat, top

SECONDS = "http_server_request_duration_seconds"
COUNT = f"{SECONDS}_count"
ROUTE = "http_request_method, http_route"

API = dashboard(
    "api",
    "Broadaxe / API server",
    "The REST API: load, errors, latency.",
    COUNT,
    [
        stat("Requests", "A second.", rate(COUNT), "reqps"),
        stat(
            "Server errors",
            "Share of requests answered 5xx.",
            share(
                rate(COUNT, where='http_response_status_code=~"5.."'),
                rate(COUNT),
            ),
            "percentunit",
        ),
        stat("p99", "99 % of requests are faster.", quantile(0.99, SECONDS), "s"),
        Panel(
            "Requests by route",
            "A second, the ten busiest.",
            {
                "{{http_request_method}} {{http_route}}": top(rate(COUNT, ROUTE)),
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Requests by status",
            "A second.",
            {"{{http_response_status_code}}": rate(COUNT, "http_response_status_code")},
            "reqps",
            width=12,
        ),
        Panel("Duration", "Of all requests.", quantiles(SECONDS), "s", width=12),
        Panel(
            "Duration by route",
            "95 %, the ten slowest.",
            {
                "{{http_request_method}} {{http_route}}": top(quantile(0.95, SECONDS, ROUTE)),
            },
            "s",
            width=12,
        ),
        Panel(
            "Errors",
            "Requests a second that failed, by kind.",
            {
                "{{error_type}}": rate(COUNT, "error_type", 'error_type!=""'),
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Database",
            "95 % of statements of this process are faster.",
            {
                "{{db_operation_name}}": quantile(
                    0.95, "db_client_operation_duration_seconds", "db_operation_name"
                )
            },
            "s",
            width=12,
        ),
    ],
)
