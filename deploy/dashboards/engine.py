"""The dashboard of the engine."""

from dashboards.panels import Panel, dashboard, gauge, quantile, quantiles, rate, share, stat, top

ENGINE = dashboard(
    "engine",
    "Broadaxe / Engine",
    "What the engine does with tasks: how many, how fast, and what waits.",
    "hatchet_active_runs",
    [
        stat("Active runs", "Runs that are not final.", gauge("hatchet_active_runs")),
        stat("Waiting tasks", "Tasks that wait for a slot.", gauge("hatchet_queue_depth")),
        stat(
            "Oldest waiting",
            "Age of the task that has waited longest.",
            gauge("hatchet_queue_oldest_seconds", how="max"),
            "s",
        ),
        stat("Workers", "Connected workers.", gauge("hatchet_tenant_active_workers")),
        stat(
            "Slots in use",
            "Share of all slots.",
            share(gauge("hatchet_worker_slots", where='state="used"'), gauge("hatchet_worker_slots")),
            "percentunit",
        ),
        stat(
            "Greatest lease epoch",
            "Each lease has one; it rises with each take-over.",
            gauge("hatchet_lease_epoch", how="max"),
        ),
        Panel(
            "Tasks",
            "Created, assigned and ended a second.",
            {
                "created": rate("hatchet_created_tasks_total"),
                "assigned": rate("hatchet_assigned_tasks"),
                "succeeded": rate("hatchet_succeeded_tasks_total"),
                "failed": rate("hatchet_failed_tasks_total"),
                "cancelled": rate("hatchet_cancelled_tasks_total"),
            },
            "ops",
        ),
        Panel(
            "Further attempts",
            "Retries a second, by reason.",
            {"{{reason}}": rate("hatchet_retried_tasks_total", "reason")},
            "ops",
        ),
        Panel(
            "Trouble with workers",
            "Attempts taken from lost workers, schedule time-outs, results that came too late.",
            {
                "reassigned": rate("hatchet_reassigned_tasks"),
                "schedule time-out": rate("hatchet_scheduling_timed_out"),
                "stale results": rate("hatchet_stale_results_total"),
            },
            "ops",
        ),
        Panel(
            "Trigger to send",
            "From an accepted trigger to the action on the worker's stream.",
            quantiles("hatchet_trigger_to_send_seconds"),
            "s",
        ),
        Panel(
            "Queue wait", "From ready to assigned.", quantiles("hatchet_queued_to_assigned_time_seconds"), "s"
        ),
        Panel(
            "Run duration",
            "From a run's creation to its end, by outcome, 95 %.",
            {"{{outcome}}": quantile(0.95, "hatchet_run_duration_seconds", "outcome")},
            "s",
        ),
        Panel(
            "Waiting by queue",
            "The ten longest queues.",
            {"{{queue}}": top(gauge("hatchet_queue_depth", "queue"))},
        ),
        Panel("Slots", "Slots of connected workers.", {"{{state}}": gauge("hatchet_worker_slots", "state")}),
        Panel(
            "Scheduling pass", "How long a pass takes.", quantiles("hatchet_scheduling_latency_seconds"), "s"
        ),
        Panel(
            "gRPC calls",
            "Calls a second, the ten busiest methods.",
            {"{{rpc_method}}": top(rate("rpc_server_call_duration_seconds_count", "rpc_method"))},
            "reqps",
        ),
        Panel(
            "gRPC errors",
            "Calls a second that ended with another status than OK.",
            {
                "{{rpc_method}} {{rpc_grpc_status_code}}": rate(
                    "rpc_server_call_duration_seconds_count",
                    "rpc_method, rpc_grpc_status_code",
                    'rpc_grpc_status_code!="0"',
                ),
            },
            "reqps",
        ),
        Panel(
            "gRPC duration",
            "95 %, the ten slowest methods.",
            {"{{rpc_method}}": top(quantile(0.95, "rpc_server_call_duration_seconds", "rpc_method"))},
            "s",
        ),
        Panel("Open streams", "Server streams by method.", {"{{kind}}": gauge("hatchet_streams", "kind")}),
        Panel(
            "Workers by SDK",
            "Connected workers.",
            {
                "{{sdk_language}} {{sdk_version}}": gauge(
                    "hatchet_tenant_active_sdks", "sdk_language, sdk_version"
                )
            },
        ),
        Panel(
            "Connections",
            "Open at the gRPC port, and those that the server ended a second, by reason.",
            {
                "open": gauge("hatchet_grpc_connections"),
                "ended: {{reason}}": rate("hatchet_grpc_connections_ended_total", "reason"),
            },
        ),
        Panel(
            "Bytes in transit",
            "Requests not yet read and replies not yet taken.",
            {"{{instance}}": gauge("hatchet_grpc_buffered_bytes", "instance")},
            "bytes",
        ),
        Panel(
            "Events",
            "Stored, runs that they started, and expressions that failed, a second.",
            {
                "stored": rate("hatchet_pushed_events_total"),
                "runs": rate("hatchet_event_runs_total"),
                "runs of workflows that cannot be run": rate("hatchet_event_runs_skipped_total"),
                "expressions failed": rate("hatchet_event_expressions_failed_total"),
            },
            "ops",
        ),
        Panel(
            "Planned",
            "Crons that are on, and planned runs due within the hour.",
            {"{{kind}}": gauge("hatchet_schedules_planned", "kind")},
        ),
        Panel(
            "Due times",
            "That started a run, and that were skipped, a second.",
            {
                "fired: {{kind}}": rate("hatchet_schedules_fired_total", "kind"),
                "skipped: {{reason}}": rate("hatchet_schedules_skipped_total", "reason"),
            },
            "ops",
        ),
        Panel(
            "Lateness",
            "From a due time to the commit of its run.",
            quantiles("hatchet_schedules_lateness_seconds"),
            "s",
        ),
        Panel(
            "Messages between processes",
            "A second, by kind.",
            {"{{kind}}": rate("hatchet_bus_messages_total", "kind")},
            "ops",
        ),
    ],
)
