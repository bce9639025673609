"""Progress of a running attempt, read from the pod of index 0.

The user chooses the image that answers, so nothing in the answer is trusted: no redirect is followed, because it could
point the operator at any address it can reach, and a body is read only up to a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from gpuquery.api.labels import PROGRESS_PORT
from gpuquery.api.report import Progress

EVERY_SECONDS = 5.0
"""How often an answering pod is asked."""
TIMEOUT = aiohttp.ClientTimeout(total=1)
MAX_BYTES = 16_384
"""Maximum length of an answer; a progress line takes a few hundred bytes, and about 150 more for each table."""


@dataclass(frozen=True)
class Reading:
    """The answer of index 0, or why it could not be read."""

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
        # Whatever a user's pod answers, the worst outcome is a miss.
        return Reading(at=now, error=type(error).__name__)


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Read a body; one that is too long comes back cut, and does not parse as progress."""
    body = b""
    while len(body) <= MAX_BYTES and (piece := await content.read(MAX_BYTES)):
        body += piece
    return body[:MAX_BYTES]
