"""The load generator against a whole `broadaxe dev`."""

from pathlib import Path

from bench.engine import Engine, run_program


async def test_load_generator_finishes_every_run_and_counts_the_costs(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "d", {})
    try:
        await engine.start()
        result = await run_program(
            "bench.load",
            *("--client-env", engine.client_env, "--engine-pid", engine.pid, "--dsn", engine.dsn),
            *("--count", 200, "--bulk", 50, "--inflight", 100, "--timeout", 30, "--subscribe"),
        )
    finally:
        await engine.stop()
    assert result["finished"] == 200
    assert result["refused_reports"] == 0
    assert result["timed_out"] is False
    assert result["engine_cpu_s_per_1000"] > 0
    # How many runs share a commit is up to the machine; alone, each takes two or three of two statements.
    # What they cost at load is in test_engine_budget.py.
    assert 0 < result["statements_per_task"] <= 8
    assert 0 < result["wal_bytes_per_task"] <= 10_000
