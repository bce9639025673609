"""Inputs: found, looked at and resolved once, then read the same way by every rank, engine and estimate."""

from gpuquery.runner.inputs.base import File, Listed, Reading, Resolved
from gpuquery.runner.inputs.changes import changed
from gpuquery.runner.inputs.faults import refuse_gpu
from gpuquery.runner.inputs.resolve import clash, frames, from_json, resolve, to_json

__all__ = [
    "File",
    "Listed",
    "Reading",
    "Resolved",
    "changed",
    "clash",
    "frames",
    "from_json",
    "refuse_gpu",
    "resolve",
    "to_json",
]
