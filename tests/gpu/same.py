"""Comparing a result with Polars' own."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

RELATIVE = 1e-9
ABSOLUTE = 1e-6
_PLACES = 4


def same(got: pl.DataFrame, want: pl.DataFrame) -> None:
    """Fail unless both hold the same rows, whatever their order; README.md tells the tolerance."""
    assert got.columns == want.columns, f"columns {got.columns}, not {want.columns}"
    assert got.height == want.height, f"{got.height} rows, not {want.height}"
    # Integers of another width are the engine's matter: the sink casts to the query's schema.
    got = got.cast({name: dtype for name, dtype in want.schema.items() if not dtype.is_nested()})
    assert_frame_equal(_sorted(got), _sorted(want), check_exact=False, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort by all columns; floats last and rounded, so that a difference in the last digits moves no row."""
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    keys = [pl.col(name) for name in frame.columns if name not in floats]
    return frame.sort([*keys, *(pl.col(name).round(_PLACES) for name in floats)], nulls_last=True)
