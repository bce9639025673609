"""What a preflight found out, in words."""

from __future__ import annotations

import pytest

from gpuquery.api.status import PreflightStatus
from gpuquery.reconcile.findings import amount, summary


@pytest.mark.parametrize(
    ("size", "want"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"), (999_499, "999 kB"),
        (999_500, "1.00 MB"), (893_000_000, "893 MB"), (3_100_000_000_000, "3.10 TB"), (10**19, "10000 PB"),
    ],
)  # fmt: skip
def test_bytes_have_three_digits(size: int, want: str) -> None:
    assert amount(size) == want


def test_sizes_come_first_then_what_the_author_should_know() -> None:
    found = PreflightStatus(
        polars="1.44.2", files=1, rows=1, input_bytes=2000, peak_bytes=3000, basis="all footers",
        fallbacks=("median", "cum_sum"), warnings=("Decimals lose digits.", "Many partitions."),
    )  # fmt: skip
    assert summary(found) == (
        "nothing keeps the query from running; "
        "1 file, 1 row: 2.00 kB in memory, 3.00 kB at work (all footers); on one partition: median, cum_sum; "
        "warnings: Decimals lose digits. Many partitions."
    )


def test_what_was_not_estimated_is_not_told_as_zero() -> None:
    assert summary(PreflightStatus(polars="1.44.2")) == "nothing keeps the query from running"
    unknown = PreflightStatus(polars="1.44.2", basis="not estimated: no estimator")
    assert summary(unknown) == "nothing keeps the query from running; sizes: not estimated: no estimator"
