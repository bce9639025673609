"""Duplicates are found exactly, whether the keys fit into memory or are dealt out into scratch."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.runner.output import duplicates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = 600
VALUES: dict[str, tuple[Any, Sequence[Any]]] = {
    "integers": (pl.Int64, [None, *range(500)]),
    "unsigned": (pl.UInt64, [2**64 - 1, 2**63, 0, None]),
    "texts": (pl.String, ["", "ä" * 200, "a", "b", None]),
    "bytes": (pl.Binary, [b"", b"\0", b"\0\0", None]),
    "floats": (pl.Float64, [0.0, -0.0, float("nan"), 1.5, None]),
    "small floats": (pl.Float32, [0.0, -0.0, float("nan"), 1.5, None]),
    "decimals": (pl.Decimal(38, 2), [Decimal("1.10"), Decimal("-0.01"), Decimal(10**35), None]),
    "booleans": (pl.Boolean, [True, False, None]),
    "days": (pl.Date, [date(2024, 1, 1), date(1, 1, 1), None]),
    "moments": (pl.Datetime("us", "UTC"), [datetime(2024, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)]),
    "categories": (pl.Categorical, ["x", "y", None]),
    "enums": (pl.Enum(["y", "x"]), ["x", "y", None]),
}


def written(folder: Path, columns: Sequence[str]) -> tuple[list[Path], Counter[Any]]:
    """Write rows into four files; returns them, and Python's own count of each key without nulls."""
    files, counts = [], Counter[Any]()
    for number in range(4):
        # Numbers without a common divisor, so that the columns are not in step.
        rows = range(number * ROWS, (number + 1) * ROWS)
        data = {n: [VALUES[n][1][(r * (7 + at)) % len(VALUES[n][1])] for r in rows] for at, n in enumerate(columns)}
        frame = pl.DataFrame(data, schema={name: VALUES[name][0] for name in columns})
        frame.write_parquet(folder / f"{number}.parquet")
        files.append(folder / f"{number}.parquet")
        for row in zip(*data.values(), strict=True):
            if None not in row:
                counts[tuple("nan" if str(value) == "nan" else value for value in row)] += 1
    return files, counts


@pytest.mark.parametrize("most", [1 << 40, 2000], ids=["at once", "in buckets"])
@pytest.mark.parametrize(
    "columns", [[name] for name in VALUES] + [["integers", "texts"], ["floats", "booleans", "categories"]], ids=" ".join
)
def test_duplicates_are_those_that_python_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: list[str], most: int
) -> None:
    monkeypatch.setattr(duplicates, "BUCKET_BYTES", most)
    monkeypatch.setattr(duplicates, "BUCKETS", 3)
    files, counts = written(tmp_path, columns)
    (tmp_path / "scratch").mkdir()
    found = duplicates.found(files, columns, tmp_path / "scratch")
    twice = {key: times for key, times in counts.items() if times > 1}
    assert (found.keys, found.rows) == (len(twice), sum(twice.values()))
    assert found.times == max(twice.values(), default=0)
    assert list((tmp_path / "scratch").iterdir()) == [], "a bucket that was looked at takes no room any more"


def test_no_row_is_no_duplicate(tmp_path: Path) -> None:
    assert duplicates.found([], ["k"], tmp_path) == duplicates.Duplicates()


def test_an_example_is_short(tmp_path: Path) -> None:
    pl.DataFrame({"k": ["x" * 10_000] * 2}).write_parquet(tmp_path / "a.parquet")
    example = duplicates.found([tmp_path / "a.parquet"], ["k"], tmp_path).example
    assert example.startswith("k = 'xxx") and len(example) == duplicates.MAX_SHOWN
