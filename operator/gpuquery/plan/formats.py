"""Formats of inputs: what an input's files are, as far as the spec tells."""

from __future__ import annotations

from gpuquery.api.spec import ENDINGS, Input, InputFormat

TEXTS = (InputFormat.CSV, InputFormat.NDJSON)
"""Formats that the GPU engines read from local files only."""


def format_of(uri: str) -> InputFormat:
    """Return the format that a URI's ending tells; the model refuses `auto` with an ending that tells none."""
    return next(found for ending, found in ENDINGS.items() if uri.lower().endswith(ending))


def is_text(item: Input) -> bool:
    """Whether an input is text."""
    return (format_of(item.uri) if item.format is InputFormat.AUTO else item.format) in TEXTS
