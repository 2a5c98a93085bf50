"""The table of the design's budgets and goals with what was measured beside them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`limit` is the budget of the first landing and `goal` the design's, in the row's unit; `at_least` when
    more is better."""

    name: str
    peer: str
    budget: str
    limit: float | None
    unit: str
    at_least: bool = False
    goal: float | None = None

    def line(self, value: float | None) -> str:
        """A line of Markdown."""
        sign = ">=" if self.at_least else "<="
        goal = "-" if self.goal is None else f"{sign} {self.goal:,g} {self.unit}".rstrip()
        head = f"| {self.name} | {self.peer} | {self.budget} | {goal} |"
        if value is None:
            return f"{head} not measured | |"
        return f"{head} {_shown(value)} {self.unit} | {self._verdict(value)} |"

    def _verdict(self, value: float) -> str:
        if self.goal is not None and self._reached(value, self.goal):
            return "goal"
        if self.limit is None:
            return ""
        return "budget" if self._reached(value, self.limit) else "**missed**"

    def _reached(self, value: float, wanted: float) -> bool:
        return value >= wanted if self.at_least else value <= wanted


ROWS: dict[str, Row] = {
    "runs_per_second": Row("sustained runs/s", "57-61", ">= 300", 300, "/s", at_least=True, goal=2500),
    "engine_cpu": Row("engine CPU per 1,000 tasks", "10-12 s", "<= 3 s", 3, "s", goal=0.25),
    "postgres_cpu": Row("PostgreSQL CPU per 1,000 tasks", "19-24 s", "<= 0.5 s", 0.5, "s", goal=0.15),
    "statements_load": Row("SQL statements per task, at load", "54", "<= 1", 1, "", goal=0.1),
    "statements_slow": Row("SQL statements per task, at 10 a second", "199", "<= 8", 8, "", goal=4),
    "wal_bytes": Row("WAL bytes per task", "30-46 kB", "<= 5 kB", 5000, "B", goal=2500),
    "database_mb": Row("database bytes per 10,000 runs", "86 MB", "<= 15 MB", 15, "MB", goal=8),
    "chain_ms": Row("three steps in a row, raw client, p50", "-", "-", None, "ms"),
    "chain_ms_p99": Row("the same, p99", "-", "-", None, "ms"),
    "steps_per_second": Row("steps/s of a run of 1,000, 200 wide", "-", "-", None, "/s", at_least=True),
    "statements_step": Row("SQL statements per step of it", "54", "<= 1", 1, "", goal=0.1),
    "wal_bytes_step": Row("WAL bytes per step of it", "30-46 kB", "<= 5 kB", 5000, "B", goal=2500),
    "sdk_ms": Row(
        "run and wait through the Python SDK, sequential, p50", "65 ms", "<= 25 ms", 25, "ms", goal=15
    ),
    "sdk_ms_traced": Row("the same, everything traced", "-", "-", None, "ms"),
    "action_ms": Row(
        "trigger -> action, raw client, p50 at 10 a second", "12 ms", "<= 6 ms", 6, "ms", goal=3
    ),
    "children_s": Row("100 children, run and wait", "9.0 s", "<= 1.5 s", 1.5, "s", goal=0.7),
    "restart_s": Row(
        "`kill -9` and restart: ListenV2 accepted -> first task", "62.7 s", "<= 3 s", 3, "s", goal=0.5
    ),
    "ready_s": Row("`kill -9` and restart: process start -> ready", "-", "-", None, "s"),
    "idle_statements": Row("idle: SQL statements/s", "53.6", "<= 2", 2, "/s", goal=1),
    "idle_cpu": Row("idle: CPU of a core, engine and PostgreSQL", "7.2 %", "<= 1 %", 1, "%", goal=0.3),
    "idle_statements_worker": Row("idle with a worker connected: SQL statements/s", "-", "<= 2", 2, "/s"),
    "idle_cpu_worker": Row("the same: CPU of a core", "-", "<= 1 %", 1, "%", goal=0.3),
    "spans": Row("spans of one simple run", "345", "<= 20", 20, "", goal=12),
    "traces": Row("traces of one simple run", "20", "1", 1, ""),
    "tracing_ms": Row(
        "tracing everything: CPU added a task", "not measurable", "<= 0.3 ms", 0.3, "ms", goal=0.1
    ),
    "runs_per_second_traced": Row("sustained runs/s, everything traced", "-", "-", None, "/s", at_least=True),
    "metrics_ms": Row("metrics on: CPU added a task", "-", "-", None, "ms"),
    "generator_cpu": Row("load generator's own CPU per 1,000 tasks", "-", "-", None, "s"),
    "engine_rss": Row("engine memory after the load", "-", "-", None, "MB"),
}


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def render(figures: dict[str, float]) -> str:
    """The whole table in Markdown; what was not measured says so."""
    head = ["| figure | peer | budget | goal | measured | reached |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(row.line(figures.get(key)) for key, row in ROWS.items())])
