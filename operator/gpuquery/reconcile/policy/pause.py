"""Pause: after how long to look again at what waits for somebody else. Pure.

What has waited for seconds is probably about to come; what has waited for an hour can wait a minute more, and a
thousand jobs that wait for nothing must not cost what a thousand that run do. Where a watch tells of the change, it
comes at once all the same; so does anyone who edits the job.
"""

from __future__ import annotations

SHARE = 0.1
LONGEST = 120.0


def pause(first: float, waited: float) -> float:
    """Return the seconds until the next look: `first` in the beginning, then a tenth of the time waited so far."""
    return max(first, min(SHARE * waited, LONGEST))
