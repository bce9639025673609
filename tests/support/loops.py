"""asyncio's loop, turned by hand: for tests that watch what happens between two turns."""

from __future__ import annotations

import asyncio


def turn(loop: asyncio.AbstractEventLoop, seconds: float = 0.0) -> None:
    """Let the loop handle what is ready, and what becomes ready within so many seconds."""
    loop.run_until_complete(asyncio.sleep(seconds))
    loop.run_until_complete(asyncio.sleep(0))
