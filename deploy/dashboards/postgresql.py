"""The dashboard of PostgreSQL as the processes see it."""

from dashboards.panels import Panel, dashboard, gauge, quantile, quantiles, rate, share, stat, top

POSTGRESQL = dashboard(
    "postgresql",
    "Broadaxe / PostgreSQL as seen from here",
    "What the processes see of their database; not what the server says of itself.",
    "hatchet_database_pool_connections",
    [
        stat(
            "Partition horizon",
            "How far ahead the day partitions reach; under a day is an alarm.",
            gauge("hatchet_partition_horizon_seconds", how="min"),
            "s",
        ),
        stat("Statements", "A second.", rate("db_client_operation_duration_seconds_count"), "ops"),
        stat(
            "Failed statements",
            "A second.",
            rate("db_client_operation_duration_seconds_count", where='error_type!=""'),
            "ops",
        ),
        stat(
            "Items a commit",
            "How many share one commit, on average.",
            share(rate("hatchet_commit_size_sum"), rate("hatchet_commit_size_count")),
        ),
        Panel(
            "Commit latency",
            "Of the group commit that everything waits for.",
            quantiles("hatchet_commit_latency_seconds"),
            "s",
        ),
        Panel("Commit size", "Items that shared one commit.", quantiles("hatchet_commit_size")),
        Panel(
            "Commits",
            "A second, and items that dropped out of one.",
            {
                "commits": rate("hatchet_commit_latency_seconds_count"),
                "rejected items": rate("hatchet_commit_rejected_total"),
            },
            "ops",
        ),
        Panel(
            "Statements by command",
            "A second.",
            {
                "{{db_operation_name}}": rate(
                    "db_client_operation_duration_seconds_count", "db_operation_name"
                )
            },
            "ops",
        ),
        Panel(
            "Duration by command",
            "95 %.",
            {
                "{{db_operation_name}}": quantile(
                    0.95, "db_client_operation_duration_seconds", "db_operation_name"
                )
            },
            "s",
        ),
        Panel(
            "Time by table",
            "Seconds of statements a second, the ten heaviest.",
            {
                "{{db_collection_name}}": top(
                    rate("db_client_operation_duration_seconds_sum", "db_collection_name")
                ),
            },
            "s",
        ),
        Panel(
            "Errors",
            "Failed statements a second, by SQLSTATE.",
            {
                "{{error_type}}": rate(
                    "db_client_operation_duration_seconds_count", "error_type", 'error_type!=""'
                )
            },
            "ops",
        ),
        Panel(
            "Connections",
            "Of the pools, by state.",
            {"{{state}}": gauge("hatchet_database_pool_connections", "state")},
        ),
        Panel(
            "Time without database",
            "Seconds of outage a second.",
            {
                "{{instance}}": rate("hatchet_database_away_seconds_total", "instance"),
            },
            "s",
        ),
        Panel(
            "Dead rows",
            "Of a hundred rows of a table, partitions added up.",
            {"{{table_name}}": gauge("hatchet_db_dead_tuple_percent", "table_name", "max")},
            "percent",
        ),
        Panel(
            "Tables by health",
            "Bloated from 10,000 dead rows and 20 % on.",
            {"{{health_status}}": gauge("hatchet_db_bloat_count", "health_status", "max")},
        ),
        Panel(
            "Pages found in memory",
            "Of a hundred that were read, by table, since the server's statistics began.",
            {"{{table_name}}": gauge("hatchet_db_query_cache_hit_ratio", "table_name", "max")},
            "percent",
        ),
        Panel(
            "Since the last autovacuum",
            "By table; the newest of its partitions counts.",
            {"{{table_name}}": gauge("hatchet_db_last_autovacuum_seconds", "table_name", "max")},
            "s",
        ),
        Panel(
            "What runs for long",
            "Statements over five minutes, and vacuums; long ones from an hour on.",
            {
                "statements": gauge("hatchet_db_long_running_queries", how="max"),
                "vacuums {{health_status}}": gauge("hatchet_db_long_running_vacuum", "health_status", "max"),
            },
        ),
        Panel(
            "Messages found late",
            "A second, by the sweep alone: the wake-up for them was lost or late.",
            {"{{instance}}": rate("hatchet_sweep_found_total", "instance")},
        ),
    ],
)
