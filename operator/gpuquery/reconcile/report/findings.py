"""Findings: what a preflight found out, in words for a condition and an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.plan.guide import amount

if TYPE_CHECKING:
    from gpuquery.api.status import PreflightStatus


def summary(found: PreflightStatus) -> str:
    """Return sizes first, then what the query's author should know."""
    parts = ["nothing keeps the query from running", _sizes(found)]
    if found.fallbacks:
        parts.append(f"on one partition: {', '.join(found.fallbacks)}")
    if found.warnings:
        parts.append("warnings: " + " ".join(found.warnings))
    return "; ".join(filter(None, parts))


def _sizes(found: PreflightStatus) -> str:
    if not (found.basis or found.files or found.input_bytes):
        return ""  # not known: zeros would look like a measurement
    files = "1 file" if found.files == 1 else f"{found.files:,} files"
    rows = "1 row" if found.rows == 1 else f"{found.rows:,} rows"
    basis = f" ({found.basis})" if found.basis else ""
    return f"{files}, {rows}: {amount(found.input_bytes)} in memory, {amount(found.peak_bytes)} at work{basis}"
