"""The lean transport judged by h2spec: its generic, hpack and http2 sections."""

import asyncio
import re

import pytest
from toy_server import SETTINGS, serving

from tests.judges import NotHere, find


async def test_h2spec_finds_nothing() -> None:
    try:
        h2spec = find("h2spec", build=True)
    except NotHere as reason:
        pytest.skip(str(reason))
    # It pings as often as it likes.
    settings = SETTINGS["lean"](port=0, min_ping_interval=0.0)
    async with serving(settings) as toy:
        judge = await asyncio.create_subprocess_exec(
            h2spec,
            *("--host", "127.0.0.1", "--port", str(toy.server.port), "--timeout", "60"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            told, _ = await judge.communicate()
    text = told.decode()
    summary = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", text)
    assert summary is not None, text
    tests, passed, skipped, failed = map(int, summary.groups())
    assert (skipped, failed) == (0, 0), text[text.find("Failures:") :]
    assert tests == passed >= 145
