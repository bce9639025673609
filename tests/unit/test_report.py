"""The line that a pod leaves behind."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import MAX_REPORT_BYTES, Report
from gpuquery.api.status import OutputStatus


def committed(uri: str) -> OutputStatus:
    return OutputStatus(uri=uri, version=1, files=1, rows=1, bytes=1, partitions=0)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(Report(failure=Failure.USER_ERROR, message="x" * 20_000), id="a long message"),
        pytest.param(Report(failure=Failure.USER_ERROR, message="\x01" * 5_000), id="a message that JSON makes longer"),
        pytest.param(Report(failure=Failure.USER_ERROR, message="why", warnings=("w" * 3000,) * 9), id="warnings"),
        pytest.param(Report(committed=committed("s3://lake/" + "\x01" * 1000)), id="a URI that JSON makes longer"),
        pytest.param(Report(committed=committed("s3://lake/" + "\U0001f986" * 1014), message="m" * 9), id="ducks"),
    ],
)
def test_a_report_fits_into_a_termination_message_whatever_is_long_in_it(report: Report) -> None:
    line = report.to_line()
    assert len(line.encode()) <= MAX_REPORT_BYTES
    read = Report.from_line(line)
    assert read is not None and read.failure == report.failure
    assert (read.committed is None) == (report.committed is None)
    assert len(line.encode()) > MAX_REPORT_BYTES // 4, "no more is cut than must be"
