"""Smaller: what is written in place of a status that the API server refuses. Pure.

First the fields that the refusal names are left out, then those that nothing depends on, then all but what the next
look needs: a job must not be stuck because a number or a text does not fit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuquery.api.conditions import ConditionType
from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

Manifest = dict[str, Any]

NAMED = re.compile(r"\bstatus\.([A-Za-z]+)")
NEEDED = ("observedGeneration", "state", "failure", "conditions", "attempt", "attempts", "countedFailures",
          "suspendedAttempts", "startTime", "completionTime", "preflightRun")  # fmt: skip
"""What the next look needs."""
ALSO_KEPT = (*NEEDED, "plan", "output")
SHORT = 250


def smaller(status: Manifest, refusal: str) -> Iterator[Manifest]:
    """Yield ever smaller statuses, each of which says what was refused."""
    named = {key for key in NAMED.findall(refusal) if key not in NEEDED}
    seen = [status]
    for less in (
        {key: value for key, value in status.items() if key not in named},
        {key: _short(value) for key, value in status.items() if key in ALSO_KEPT and key not in named},
        {key: _short(value) for key, value in status.items() if key in NEEDED},
    ):
        if less not in seen:
            seen.append(less)
            yield {**less, "conditions": _saying(less.get("conditions") or [], refusal)}


def _short(value: Any) -> Any:
    """Cut all texts in a value."""
    match value:
        case str():
            return clean(value, SHORT)
        case list():
            return [_short(each) for each in value]
        case dict():
            return {key: _short(each) for key, each in value.items()}
        case _:
            return value


def _saying(conditions: list[Manifest], refusal: str) -> list[Manifest]:
    """Say in the terminal condition that the status is not complete."""
    words = _short(refusal)
    ends = [c for c in conditions if c["type"] in (ConditionType.COMPLETE, ConditionType.FAILED)]
    chosen = next((c for c in ends if c["status"] == "True"), ends[-1] if ends else None)
    note = f" (the API server refused to store more of this status: {words})"
    return [{**c, "message": c.get("message", "") + note} if c is chosen else c for c in conditions]
