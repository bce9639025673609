"""The line that a pod leaves behind."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import MAX_REPORT_BYTES, Report
from gpuquery.api.status import InputStatus, OutputStatus, PreflightStatus


def committed(uri: str) -> OutputStatus:
    return OutputStatus(uri=uri, version=1, files=1, rows=1, bytes=1, partitions=0)


def found(**lists: tuple[str, ...]) -> PreflightStatus:
    return PreflightStatus(polars="1.44.2", rows=7, basis="b" * 400, **lists)


def inputs(count: int, snapshot: str = "") -> tuple[InputStatus, ...]:
    return tuple(InputStatus(name=f"t{n}", files=n, bytes=n, digest="d" * 16, snapshot=snapshot) for n in range(count))


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(Report(failure=Failure.USER_ERROR, message="x" * 20_000), id="a long message"),
        pytest.param(Report(failure=Failure.USER_ERROR, message="\x01" * 5_000), id="a message that JSON makes longer"),
        pytest.param(Report(failure=Failure.USER_ERROR, message="why", warnings=("w" * 3000,) * 9), id="warnings"),
        pytest.param(Report(committed=committed("s3://lake/" + "\x01" * 1000)), id="a URI that JSON makes longer"),
        pytest.param(Report(committed=committed("s3://lake/" + "\U0001f986" * 1014), message="m" * 9), id="ducks"),
        pytest.param(
            Report(
                committed=committed("s3://lake/" + "\U0001f986" * 1000).model_copy(
                    update={"expectations": "\U0001f986" * 400}
                )
            ),
            id="expectations",
        ),
        pytest.param(Report(preflight=found(fallbacks=("f" * 900,) * 9)), id="fallbacks"),
        pytest.param(
            Report(preflight=found(fallbacks=("f" * 90,) * 40, warnings=("w" * 99,) * 40)), id="many findings"
        ),
        pytest.param(Report(committed=committed("s3://lake/x"), inputs=inputs(64)), id="inputs"),
        pytest.param(Report(failure=Failure.USER_ERROR, message="m" * 900, inputs=inputs(64, "s" * 200)), id="tables"),
        pytest.param(
            Report(
                committed=committed("s3://lake/x"), preflight=found(warnings=("w" * 500,) * 9), warnings=("v" * 99,)
            ),
            id="findings beside a commit",
        ),
    ],
)
def test_a_report_fits_into_a_termination_message_whatever_is_long_in_it(report: Report) -> None:
    line = report.to_line()
    assert len(line.encode()) <= MAX_REPORT_BYTES
    read = Report.from_line(line)
    assert read is not None and read.failure == report.failure
    assert (read.committed is None) == (report.committed is None)
    assert len(line.encode()) > MAX_REPORT_BYTES // 4, "no more is cut than must be"


def test_inputs_without_a_snapshot_are_left_out_before_anything_else() -> None:
    known = (*inputs(60), *inputs(2, "iceberg:1@2"))
    read = Report.from_line(Report(failure=Failure.USER_ERROR, message="m" * 900, inputs=known).to_line())
    assert read is not None and read.message == "m" * 900
    assert read.inputs[-2:] == known[-2:] and 2 < len(read.inputs) < 62


def test_findings_that_were_left_out_are_missed_visibly_and_the_shorter_list_stays() -> None:
    report = Report(preflight=found(fallbacks=("f" * 90,) * 50, warnings=("credentials end soon",)))
    read = Report.from_line(report.to_line())
    assert read is not None and read.preflight is not None
    assert read.preflight.warnings == ("credentials end soon",)
    assert read.preflight.fallbacks[-1] == "..." and read.preflight.fallbacks[0] == "f" * 90
    assert read.preflight.rows == 7


@pytest.mark.parametrize(
    ("report", "succeeded"),
    [
        (Report(committed=committed("s3://lake/x")), True),
        (Report(preflight=found()), True),
        (Report(failure=Failure.USER_ERROR), False),
        (Report(preflight=found(), failure=Failure.WORKER_LOST), False),
        (Report(), False),
    ],
)
def test_a_report_of_a_commit_or_of_a_preflight_that_passed_is_a_success(report: Report, succeeded: bool) -> None:
    assert report.succeeded is succeeded
