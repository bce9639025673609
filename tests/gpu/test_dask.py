"""Dask clusters on the GPUs of this machine, against Polars on the CPU: one pod with one worker for each GPU.

A run is a whole attempt, from the supervisor to the commit; so the engine `tasks` on one GPU is here too. None of this
has run on a GPU yet (README.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.plan.dask import flags
from gpuquery.plan.releases import RELEASES
from gpuquery.runner.engines.dask.parts import each_once
from tests.bench import tpch
from tests.gpu.conftest import gpus
from tests.gpu.same import same
from tests.gpu.test_cells import SMALL, TPCH, expected
from tests.support.dask_pods import Pods, dask
from tests.support.runner import plan, result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpuquery.plan.plan import Plan

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]
ALL = {"UCX_TLS": "all"}
"""NVLink, PCIe and shared memory too, which pods of other tests do without."""


class Cell(NamedTuple):
    """What a release runs."""

    release: str
    engine: str
    cluster: str = "distributed"
    shuffle: str = ""
    """`shuffle_method`; empty: the release's own choice."""


CELLS = [
    pytest.param("26.04", Cell("26.04", "tasks", "single"), id="tasks-26.04-single"),
    pytest.param("26.04", Cell("26.04", "tasks", shuffle="tasks"), id="tasks-26.04-shuffle-tasks"),
    pytest.param("26.04", Cell("26.04", "tasks", shuffle="rapidsmpf"), id="tasks-26.04-shuffle-rapidsmpf"),
    pytest.param("26.04", Cell("26.04", "rapidsmpf"), id="rapidsmpf-26.04"),
    pytest.param("26.10", Cell("26.10", "rapidsmpf"), id="rapidsmpf-26.10"),
]


def planned(folder: Path, tables: Path, cell: Cell, query: str) -> Plan:
    """A plan of one pod with all GPUs of this machine, or of one process with one."""
    count = len(gpus()[0]) if cell.cluster == "distributed" else 1
    shape: dict[str, Any] = {"gpus": count, "replicas": 1}
    if cell.cluster == "distributed":
        shape |= {
            "processes": "pods",
            "dask": dask(workers=count, options=flags.complete({}, RELEASES[cell.release])),
        }
    return plan(
        folder, query, language="python", inputs={name: f"file://{tables}/{name}.parquet" for name in tpch.NAMES},
        engine=cell.engine, cluster=cell.cluster, release=cell.release,
        executorOptions=SMALL | ({"shuffle_method": cell.shuffle} if cell.shuffle else {}), **shape,
    )  # fmt: skip


@pytest.fixture
def start(gpu: str, python: Path, tmp_path: Path) -> Iterator[Callable[[Plan], Pods]]:
    """Start the pod of a plan."""
    made: list[Pods] = []

    def begin(wanted: Plan) -> Pods:
        made.append(Pods(python, tmp_path, wanted, own=True, **ALL))
        return made[-1]

    yield begin
    for pods in made:
        pods.close()


@pytest.mark.parametrize(("release", "cell"), CELLS)
@pytest.mark.parametrize("query", TPCH)
def test_a_query_of_tpch_is_committed_with_the_rows_of_polars(
    start: Callable[[Plan], Pods],
    tables: Path,
    tmp_path: Path,
    cell: Cell,
    query: str,
    record_property: Callable[[str, object], None],
) -> None:
    asked = planned(tmp_path, tables, cell, TPCH[query])
    for name, value in (*cell._asdict().items(), ("workers", asked.gpus)):
        record_property(name, value)
    pods = start(asked)
    ((code, report),) = pods.ends()
    if asked.gpus > 1 and not each_once(asked) and report.failure is Failure.INVALID_COMBINATION:
        assert "cudf#23525" in report.message, report
        pytest.skip(f"refused, as {cell.release} should where every worker holds the result: {report.message}")
    assert code == 0, f"{report}\n{pods.logs()}"
    same(result(tmp_path), expected(asked))
    assert pods.left() == []
