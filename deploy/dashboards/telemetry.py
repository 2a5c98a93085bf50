"""The dashboard of telemetry's own health."""

from dashboards.panels import Panel, dashboard, gauge, rate, share, stat

TELEMETRY = dashboard(
    "telemetry",
    "Broadaxe / Telemetry's own health",
    "Whether the spans reach the collector: created = exported + dropped + pending.",
    "hatchet_telemetry_spans_created_total",
    [
        stat("Spans", "Recorded a second.", rate("hatchet_telemetry_spans_created_total"), "ops"),
        stat(
            "Dropped",
            "Share of the recorded spans.",
            share(
                rate("hatchet_telemetry_spans_dropped_total"), rate("hatchet_telemetry_spans_created_total")
            ),
            "percentunit",
        ),
        stat("Pending", "Spans that wait for export.", gauge("hatchet_telemetry_spans_pending")),
        stat("Series", "Label sets of all instruments.", gauge("hatchet_telemetry_series", how="max")),
        Panel(
            "Spans",
            "A second.",
            {
                "created": rate("hatchet_telemetry_spans_created_total"),
                "exported": rate("hatchet_telemetry_spans_exported_total"),
                "dropped": rate("hatchet_telemetry_spans_dropped_total"),
            },
            "ops",
            width=12,
        ),
        Panel(
            "Dropped by reason",
            "A second.",
            {"{{reason}}": rate("hatchet_telemetry_spans_dropped_total", "reason")},
            "ops",
            width=12,
        ),
        Panel(
            "Export queue",
            "Spans that wait.",
            {"{{instance}}": gauge("hatchet_telemetry_spans_pending", "instance")},
            width=12,
        ),
        Panel(
            "Memory of the queue",
            "Bytes.",
            {"{{instance}}": gauge("hatchet_telemetry_queue_bytes", "instance")},
            "bytes",
            width=12,
        ),
        Panel(
            "Series",
            "Label sets by process; they are capped.",
            {"{{instance}}": gauge("hatchet_telemetry_series", "instance")},
            width=12,
        ),
    ],
)
