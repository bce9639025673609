"""Inputs: found, looked at and resolved once, then read the same way by every rank, engine and estimate."""

from gpuquery.runner.inputs.base import File, Listed, Reading, Resolved
from gpuquery.runner.inputs.changes import changed
from gpuquery.runner.inputs.handover import left, taken
from gpuquery.runner.inputs.resolve import (
    blamed,
    for_gpu,
    frames,
    from_json,
    located,
    places_of_tables,
    resolve,
    to_json,
)
from gpuquery.runner.inputs.verify import Verification

__all__ = [
    "File", "Listed", "Reading", "Resolved", "Verification", "blamed", "changed", "for_gpu", "frames", "from_json",
    "left", "located", "places_of_tables", "resolve", "taken", "to_json",
]  # fmt: skip
