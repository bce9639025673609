"""Ending: cancel tasks until they have ended.

Once is not enough. A request of aiohttp (3.14) enters its timer twice, and each way out takes a cancellation back; so
one that comes from elsewhere in the moment of the timeout is lost, and the task goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

AGAIN_SECONDS = 1.0


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return once they have ended."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
