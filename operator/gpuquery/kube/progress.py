"""Progress of a running attempt: read from index 0 itself, best effort, at most every five seconds.

What answers there is an image of the user's choice, so nothing of it is trusted: no redirect is followed, for it could
lead the operator to any address that it reaches, and a body is read up to a bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from pydantic import ValidationError

from gpuquery.api.labels import PROGRESS_PORT
from gpuquery.api.report import Progress

EVERY_SECONDS = 5.0
RETRY_SECONDS = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=1)
MAX_BYTES = 4096
"""Longest answer that is read; a progress line takes about a hundred bytes."""


@dataclass(frozen=True)
class Reading:
    """What index 0 answered, or why it could not be read."""

    at: datetime
    progress: Progress | None = None
    error: str = ""


@dataclass
class _Pace:
    due: float = 0.0
    misses: int = 0


class ProgressReader:
    """Reads `/v1/progress` of pods and keeps the pace; what it remembers may be lost without harm."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._paces: dict[str, _Pace] = {}

    async def read(self, pod_uid: str, address: str) -> Reading | None:
        """Return a reading, or None if it is not yet time for one.

        A single miss is no reading either: a pod that is about to end refuses the connection before anyone knows.
        """
        pace = self._paces.setdefault(pod_uid, _Pace())
        if time.monotonic() < pace.due:
            return None
        now = datetime.now(tz=UTC).replace(microsecond=0)
        host = f"[{address}]" if ":" in address else address
        try:
            url = f"http://{host}:{PROGRESS_PORT}/v1/progress"
            async with self._session.get(url, timeout=TIMEOUT, allow_redirects=False) as answer:
                answer.raise_for_status()
                progress = Progress.model_validate_json(await _bounded(answer.content))
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            pace.misses += 1
            pace.due = time.monotonic() + RETRY_SECONDS
            return Reading(at=now, error=type(error).__name__) if pace.misses > 1 else None
        pace.misses, pace.due = 0, time.monotonic() + EVERY_SECONDS
        return Reading(at=now, progress=progress)

    def forget(self, pod_uids: set[str]) -> None:
        """Drop what is remembered about pods that have ended."""
        for uid in pod_uids & self._paces.keys():
            del self._paces[uid]


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Read a body; one that is too long comes back cut, and then is no progress."""
    body = b""
    while len(body) <= MAX_BYTES and (piece := await content.read(MAX_BYTES)):
        body += piece
    return body[:MAX_BYTES]
