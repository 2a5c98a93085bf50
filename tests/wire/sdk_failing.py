"""Workflows whose tasks fail, are retried, time out, wait and are cancelled."""

import asyncio
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from gates import pass_gate, pass_gate_sync
from hatchet_sdk import Context, EmptyModel, Hatchet, NonRetryableException, RetryAfterException
from sdk_models import EXECUTION_TIMEOUT, FAILURE, RETRY_AFTER, Failures, Gate, declared


def declare_retries(hatchet: Hatchet) -> SimpleNamespace:
    """Attempts that fail, and what comes after."""

    @hatchet.task(name="flaky", retries=3, input_validator=Failures)
    async def flaky(input: Failures, ctx: Context) -> dict[str, int]:
        if ctx.retry_count < input.failures:
            raise RuntimeError(f"attempt {ctx.attempt_number} fails")
        return {"attempt": ctx.attempt_number, "max_attempts": ctx.max_attempts}

    @hatchet.task(name="flaky_sync", retries=3, input_validator=Failures)
    def flaky_sync(input: Failures, ctx: Context) -> dict[str, int]:
        if ctx.retry_count < input.failures:
            raise RuntimeError(f"attempt {ctx.attempt_number} fails")
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="never_retry", retries=3)
    async def never_retry(input: EmptyModel, ctx: Context) -> None:
        raise NonRetryableException("not again")

    @hatchet.task(name="backs_off", retries=2, backoff_factor=1.2, backoff_max_seconds=2)
    async def backs_off(input: EmptyModel, ctx: Context) -> dict[str, int]:
        await pass_gate("seen:backs_off", ctx, began=time.monotonic())
        if ctx.retry_count < 2:
            raise RuntimeError("later")
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="asks_later", retries=1)
    async def asks_later(input: EmptyModel, ctx: Context) -> dict[str, int]:
        await pass_gate("seen:asks_later", ctx, began=time.monotonic())
        if ctx.retry_count == 0:
            raise RetryAfterException("not now", after=timedelta(seconds=RETRY_AFTER))
        return {"attempt": ctx.attempt_number}

    return declared(locals())


def declare_errors(hatchet: Hatchet) -> SimpleNamespace:
    """What a failure says."""

    @hatchet.task(name="always_fails", retries=1)
    async def always_fails(input: EmptyModel, ctx: Context) -> None:
        raise ValueError(FAILURE)

    @hatchet.task(name="fails_with_nul")
    async def fails_with_nul(input: EmptyModel, ctx: Context) -> None:
        raise ValueError("before\x00after")

    @hatchet.task(name="returns_nul")
    async def returns_nul(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return {"text": "before\x00after"}

    @hatchet.task(name="returns_text")
    async def returns_text(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return "not an object"  # type: ignore[return-value]

    return declared(locals())


def declare_timeouts(hatchet: Hatchet) -> SimpleNamespace:
    """Too slow."""

    @hatchet.task(name="times_out", execution_timeout=timedelta(seconds=EXECUTION_TIMEOUT), retries=1)
    async def times_out(input: EmptyModel, ctx: Context) -> dict[str, int]:
        if ctx.retry_count == 0:
            try:
                await pass_gate("never", ctx)
            except asyncio.CancelledError:
                await asyncio.shield(pass_gate("seen:timed_out", ctx, cancelled=ctx.is_cancelled))
                raise
        return {"attempt": ctx.attempt_number}

    @hatchet.task(name="refreshes", execution_timeout=timedelta(seconds=EXECUTION_TIMEOUT))
    async def refreshes(input: EmptyModel, ctx: Context) -> dict[str, str]:
        await ctx.aio_refresh_timeout(timedelta(seconds=20))
        await pass_gate("refreshed", ctx)
        return {"state": "alive"}

    return declared(locals())


def declare_waits(hatchet: Hatchet) -> SimpleNamespace:
    """Running until they are let go or cancelled."""

    @hatchet.task(name="waits", input_validator=Gate, retries=2)
    async def waits(input: Gate, ctx: Context) -> dict[str, Any]:
        try:
            answer = await pass_gate(input.gate, ctx)
        except asyncio.CancelledError:
            await asyncio.shield(pass_gate("seen:cancelled", ctx, cancelled=ctx.is_cancelled))
            raise
        return {"answer": answer, "attempt": ctx.attempt_number, "worker": ctx.worker_id}

    @hatchet.task(name="waits_sync", input_validator=Gate, retries=2)
    def waits_sync(input: Gate, ctx: Context) -> dict[str, Any]:
        answer = pass_gate_sync(input.gate, ctx)
        return {"answer": answer, "attempt": ctx.attempt_number, "cancelled": ctx.is_cancelled}

    @hatchet.task(name="cancels_itself", input_validator=Gate)
    async def cancels_itself(input: Gate, ctx: Context) -> dict[str, str]:
        await ctx.aio_cancel()
        await pass_gate(input.gate, ctx)
        return {"too": "late"}

    return declared(locals())
