"""What the runner tells of a commit, of every format, is what the operator believes of this job and shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api import claims
from gpuquery.api.reasons import Failure
from gpuquery.reconcile.observe.believed import believed
from gpuquery.reconcile.observe.model import Exit
from tests.support import iceberg
from tests.support.kube_objects import attempt, job, pod, seen
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.api.status import OutputStatus

QUERY = "SELECT a, b FROM t"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Any]:
    with iceberg.served(tmp_path) as lake:
        yield lake


def told(folder: Path, lake: Any, output: dict[str, Any]) -> OutputStatus:
    """What the operator knows of the output of a run, by the last line of its pod."""
    pl.DataFrame({"a": [1, 2, 3], "b": ["x", "x", "y"]}).write_parquet(folder / "t.parquet")
    places = {"uri": f"file://{folder}/out"} if "table" not in output else {}
    made = plan(folder, QUERY, inputs={"t": f"file://{folder}/t.parquet"}, output={**places, **output})
    report = run(made.model_copy(update={"store": lake.access}))
    claim = claims.read(report.to_line())
    end = Exit(code=0, report=claim.report, wrong=claim.wrong)
    mine = job(output=made.output.model_dump(mode="json", exclude_none=True))
    (known,) = believed(mine, seen(attempt(pod(phase="Succeeded", exit=end)))).attempts[0].pods
    assert known.exit and known.exit.report and known.exit.report.committed, (known.exit, report)
    return known.exit.report.committed


@pytest.mark.parametrize(
    ("output", "uri", "commit"),
    [
        pytest.param({}, "file://{}/out/data/", "version 1", id="a folder"),
        pytest.param({"delta": {}}, "file://{}/out/", "version 0", id="a Delta table"),
        pytest.param({"delta": {}, "partitionBy": ["b"]}, "file://{}/out/", "version 0", id="one with partitions"),
    ],
)
def test_a_commit_to_a_folder_is_told_as_a_version(
    tmp_path: Path, lake: Any, output: dict[str, Any], uri: str, commit: str
) -> None:
    found = told(tmp_path, lake, output)
    assert (found.uri, found.commit, found.rows, found.location) == (uri.format(tmp_path), commit, 3, "")


def test_a_commit_to_an_iceberg_table_is_told_as_a_snapshot(tmp_path: Path, lake: Any) -> None:
    table = {"catalog": "lake", "name": "sales.orders", "create": {"partitionBy": ["b"]}}
    found = told(tmp_path, lake, {"table": table})
    audited = told(tmp_path, lake, {"table": {**table, "branch": "audit"}, "mode": "append"})
    made = lake.catalog.load_table("sales.orders")
    for branch, one in (("main", found), ("audit", audited)):
        assert (one.uri, one.commit) == ("lake: sales.orders", f"snapshot {made.metadata.refs[branch].snapshot_id}")
        assert (one.rows, one.files, one.partitions, one.location) == (3, 2, 2, made.location())
    assert made.scan().to_arrow().num_rows == 3, "readers see nothing of a branch"


def test_a_branch_of_a_table_without_snapshots_is_refused_at_once(tmp_path: Path, lake: Any) -> None:
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "t.parquet")
    table = {"catalog": "lake", "name": "sales.orders", "branch": "audit", "create": {}}
    made = plan(
        tmp_path, QUERY, inputs={"t": f"file://{tmp_path}/t.parquet"}, output={"table": table, "mode": "append"}
    ).model_copy(update={"store": lake.access})
    report = run(made)
    assert report.failure is Failure.USER_ERROR and "write to the table itself first" in report.message
    assert not lake.catalog.table_exists("sales.orders"), "and no table is made"
