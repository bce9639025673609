"""Lists into rows, without the rows of empty lists and NULLs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS: dict[str, Any] = (
    {"empty_as_null": False} if "empty_as_null" in inspect.signature(pl.LazyFrame.explode).parameters else {}
)
"""Polars from 1.40 on warns where it is not told; older versions do not know it, and no empty list comes here."""


def exploded(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Return one row for each element of lists that are equally long in each row."""
    return frame.explode(*names, **_OPTIONS)
