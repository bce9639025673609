"""Progress of a running attempt, as index 0 itself answers.

What answers there is an image of the user's choice, so nothing of it is trusted: no redirect is followed, for it could
lead the operator to any address that it reaches, and a body is read up to a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from gpuquery.api.labels import PROGRESS_PORT
from gpuquery.api.report import Progress

EVERY_SECONDS = 5.0
"""How often a pod that answers is asked."""
TIMEOUT = aiohttp.ClientTimeout(total=1)
MAX_BYTES = 4096
"""Longest answer that is read; a progress line takes about a hundred bytes."""


@dataclass(frozen=True)
class Reading:
    """What index 0 answered, or why it could not be read."""

    at: datetime
    progress: Progress | None = None
    error: str = ""


async def ask(session: aiohttp.ClientSession, address: str) -> Reading:
    """Read `/v1/progress` of a pod."""
    now = datetime.now(tz=UTC).replace(microsecond=0)
    host = f"[{address}]" if ":" in address else address
    try:
        url = f"http://{host}:{PROGRESS_PORT}/v1/progress"
        async with session.get(url, timeout=TIMEOUT, allow_redirects=False) as answer:
            answer.raise_for_status()
            return Reading(at=now, progress=Progress.model_validate_json(await _bounded(answer.content)))
    except Exception as error:
        # Whatever a user's pod answers, it is no more than a miss.
        return Reading(at=now, error=type(error).__name__)


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Read a body; one that is too long comes back cut, and then is no progress."""
    body = b""
    while len(body) <= MAX_BYTES and (piece := await content.read(MAX_BYTES)):
        body += piece
    return body[:MAX_BYTES]
