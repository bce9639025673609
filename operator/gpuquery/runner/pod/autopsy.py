"""Autopsy: whether a file of the inputs made native code end a process of the query.

Found out by a program of its own (`runner.inputs.autopsy`), which reads the files one by one: the supervisor loads no
library that could crash, and goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import native, readers

if TYPE_CHECKING:
    from gpuquery.runner.coordination.settings import Settings
    from gpuquery.runner.pod.process import Process

PROGRAM = "gpuquery.runner.inputs.autopsy"
SECONDS = 150.0
"""Most that it may take: the program bounds itself, this is for one that hangs."""
_MAX_BYTES = 65536


def worthwhile(process: Process, *, alone: bool) -> bool:
    """Whether a file may have ended a process: its own native code did, and says of no GPU or network that it was.

    The other processes of a set wait meanwhile, so there only the last words of a reader are reason enough.
    """
    tail = process.tail()
    if process.status not in readers.NATIVE or native.last_words("\n".join(tail)):
        return False
    return alone or bool(readers.crash(tail))


async def finding(settings: Settings, stopped: asyncio.Event) -> tuple[Failure, str] | None:
    """Return class and message if a file is to blame; None if none is, or an order to stop has come."""
    loop, ended, said = asyncio.get_running_loop(), asyncio.Event(), bytearray()
    begun = _begin(settings)
    if begun is None:
        return None
    process, output = begun

    def read() -> None:
        data = os.read(output, _MAX_BYTES)
        said.extend(data)
        if not data or len(said) > _MAX_BYTES:
            loop.remove_reader(output)
            ended.set()

    loop.add_reader(output, read)
    waiting = [asyncio.ensure_future(event.wait()) for event in (ended, stopped)]
    await asyncio.wait(waiting, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
    loop.remove_reader(output)
    os.close(output)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.returncode = 0  # reaped like every child of the supervisor
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(said)
        return Failure(found["failure"]), str(found["message"])
    return None


def _begin(settings: Settings) -> tuple[subprocess.Popen[bytes], int] | None:
    """Start the program; returns it with the descriptor of its output."""
    output, pipe = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, "--plan", str(settings.plan)],
            env=dict(settings.environment), stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.DEVNULL,
            process_group=0,
        )  # fmt: skip
    except OSError:
        os.close(output)
        return None
    finally:
        os.close(pipe)
    return process, output
