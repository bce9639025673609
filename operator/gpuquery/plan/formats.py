"""Formats of inputs, according to the spec."""

from __future__ import annotations

from gpuquery.api.spec import ENDINGS, Input, InputFormat

TEXTS = (InputFormat.CSV, InputFormat.NDJSON)
"""Formats that the GPU engines read from local files only."""


def format_of(uri: str) -> InputFormat:
    """Return the format for a URI's ending; the model refuses `auto` with an unknown ending."""
    return next(found for ending, found in ENDINGS.items() if uri.lower().endswith(ending))


def is_text(item: Input) -> bool:
    """Whether an input is text."""
    if item.delta is not None or item.table is not None:
        return False
    return (format_of(item.places[0]) if item.format is InputFormat.AUTO else item.format) in TEXTS
