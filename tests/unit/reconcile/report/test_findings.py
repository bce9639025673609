"""What a preflight found out, in words."""

from __future__ import annotations

from gpuquery.api.status import PreflightStatus
from gpuquery.reconcile.report.findings import summary


def test_sizes_come_first_then_what_the_author_should_know() -> None:
    found = PreflightStatus(
        polars="1.44.2", files=1, rows=1, input_bytes=2000, peak_bytes=3000, basis="all footers",
        fallbacks=("median", "cum_sum"), warnings=("Decimals lose digits.", "Many partitions."),
    )  # fmt: skip
    assert summary(found) == (
        "nothing keeps the query from running; "
        "1 file, 1 row: 2 kB in memory, 3 kB at work (all footers); on one partition: median, cum_sum; "
        "warnings: Decimals lose digits. Many partitions."
    )


def test_what_was_not_estimated_is_not_told_as_zero() -> None:
    assert summary(PreflightStatus(polars="1.44.2")) == "nothing keeps the query from running"
    nothing = PreflightStatus(polars="1.44.2", basis="no file is read")
    assert "0 files, 0 rows: 0 bytes in memory, 0 bytes at work (no file is read)" in summary(nothing)
