"""The lean transport judged by h2spec: its generic, hpack and http2 sections."""

import asyncio
import re

from judges import go_program
from toy_server import SETTINGS, serving


async def test_h2spec_finds_nothing() -> None:
    h2spec = go_program("github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible")
    # It pings as often as it likes.
    settings = SETTINGS["lean"](port=0, min_ping_interval=0.0)
    async with serving(settings) as toy:
        judge = await asyncio.create_subprocess_exec(
            h2spec,
            *("--host", "127.0.0.1", "--port", str(toy.server.port), "--timeout", "5"),
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
