"""Waits for the end of a child process without looking for it again and again."""

import asyncio
import os
import subprocess

_LOOK_PERIOD = 1.0


async def ended(process: subprocess.Popen[bytes], within: float) -> None:
    """Waits until the process has ended, at most `within` seconds.

    Linux tells it by a file descriptor; elsewhere it is looked for once a second.
    """
    descriptor = _descriptor_of(process)
    if descriptor is None:
        if process.poll() is None:
            await asyncio.sleep(min(within, _LOOK_PERIOD))
        return
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(descriptor, told.set)
    try:
        async with asyncio.timeout(within):
            await told.wait()
    except TimeoutError:
        return
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _descriptor_of(process: subprocess.Popen[bytes]) -> int | None:
    """What becomes readable when the process ends; None where there is no such thing, or no such process."""
    try:
        return os.pidfd_open(process.pid) if process.poll() is None else None
    except (AttributeError, OSError):
        return None
