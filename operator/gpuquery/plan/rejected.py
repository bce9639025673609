"""A spec that cannot be run."""

from __future__ import annotations

from dataclasses import dataclass

from gpuquery.api.reasons import Failure


@dataclass(frozen=True)
class Rejected:
    """The spec cannot be run, whoever tries."""

    reason: Failure
    message: str


def invalid(message: str) -> Rejected:
    """Refuse a combination of what was asked for."""
    return Rejected(Failure.INVALID_COMBINATION, message)
