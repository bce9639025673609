"""A spec that cannot run, and all its errors."""

from __future__ import annotations

from dataclasses import dataclass

from gpuquery.api.problems import listed
from gpuquery.api.reasons import Failure


@dataclass(frozen=True)
class Rejected:
    """The spec can never run."""

    reason: Failure
    message: str
    parts: tuple[Rejected, ...] = ()
    """If there are several errors: each of them."""


def invalid(message: str) -> Rejected:
    """Refuse a combination."""
    return Rejected(Failure.INVALID_COMBINATION, message)


def together(*found: Rejected | None) -> Rejected | None:
    """Return one refusal for several; None if there is none.

    Its class is the first of theirs in the list of classes; the message names the other classes with their problems.
    """
    parts = tuple(dict.fromkeys(part for one in found if one is not None for part in one.parts or (one,)))
    if len(parts) < 2:
        return parts[0] if parts else None
    order = list(Failure)
    reason = min((part.reason for part in parts), key=order.index)
    messages = (part.message if part.reason is reason else f"{part.reason}: {part.message}" for part in parts)
    return Rejected(reason, listed(messages), parts)
