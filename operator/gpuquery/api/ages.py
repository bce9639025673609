"""Ages: how long something counts, or is kept, in a spec: `90s`, `30m`, `24h`, `7d`."""

from __future__ import annotations

import re

AGE = "[1-9][0-9]{0,4}[smhd]"
DURATION = f"^{AGE}$"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(age: str) -> int:
    """Return an age in seconds."""
    assert re.match(DURATION, age)
    return int(age[:-1]) * _UNITS[age[-1]]
