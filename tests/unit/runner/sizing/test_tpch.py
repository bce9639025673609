"""Estimates of the 22 queries of TPC-H at scale factor 0.1 against their measured size in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench.estimates import measure, summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_tpch_is_estimated_within_half_and_never_under_by_more_than_two(tmp_path: Path) -> None:
    rows = measure(tmp_path, 0.1, timed=False)
    assert len(rows) == 22
    found = summary(rows)
    for suffix in ("", "_sampled"):
        assert found[f"median_error{suffix}"] <= 1.5
        assert found[f"lowest_ratio{suffix}"] >= 0.5
        assert found[f"highest_ratio{suffix}"] <= 2
