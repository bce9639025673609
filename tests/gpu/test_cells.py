"""Every way in which GpuQuery drives a release by ranks, on a real GPU, against Polars on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.plan.releases import Way
from gpuquery.runner import inputs
from gpuquery.runner.query import queries
from tests.bench import tpch
from tests.gpu.same import same
from tests.support.engine_ranks import ROOT, Ranks
from tests.support.runner import plan

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan

pytestmark = pytest.mark.gpu
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED
SHARING = {"CUDF_POLARS__ALLOW_GPU_SHARING": "1"}
SMALL = {"target_partition_size": 4 << 20}
"""So small that several ranks have something to do at a small scale."""
TPCH = {
    name: f"def query(inputs, params):\n    from tests.bench import tpch\n    return tpch.QUERIES['{name}'](inputs)\n"
    for name in tpch.QUERIES
}


def cells() -> list[tuple[str, ClusterChoice, int]]:
    """Release, cluster shape and ranks of every cell that ranks run."""
    found = []
    for name, release in releases.RELEASES.items():
        for cluster in (SINGLE, DISTRIBUTED):
            cell = release.cells[EngineChoice.RAPIDSMPF, cluster]
            if cell.way is Way.SPMD or (cell.way is Way.GPU_ENGINE and cluster is SINGLE):
                found += [(name, cluster, size) for size in ((1,) if cluster is SINGLE else (2, 3))]
    return found


CELLS = pytest.mark.parametrize(
    ("release", "cluster", "size"), cells(), ids=[f"{r}-{c.value}-{s}" for r, c, s in cells()]
)
Run = Callable[..., tuple[pl.DataFrame, Ranks]]


def wanted(folder: Path, tables: Path, query: str, **changes: Any) -> Plan:
    """A plan over TPC-H's tables."""
    given = {name: f"file://{tables}/{name}.parquet" for name in tpch.NAMES}
    return plan(folder, query, inputs=given, engine="rapidsmpf", gpus=1, **changes)


def example(name: str) -> Any:
    """The spec of a job in examples/."""
    return next(yaml.safe_load_all((ROOT / "examples" / f"{name}.yaml").read_text()))["spec"]


def expected(asked: Plan) -> pl.DataFrame:
    """The answer of Polars on the CPU."""
    return (
        queries.prepare(asked)
        .plan(inputs.frames(inputs.resolve(asked.inputs, asked.store), asked.store))
        .frame.collect()
    )


@pytest.fixture
def cell(release: str, cluster: ClusterChoice, size: int) -> tuple[str, ClusterChoice, int]:
    """The cell of a test."""
    return release, cluster, size


@pytest.fixture
def run(
    gpu: str,
    python: Path,
    tables: Path,
    tmp_path: Path,
    cell: tuple[str, ClusterChoice, int],
    record_property: Callable[[str, object], None],
) -> Iterator[Run]:
    """Run a query on the ranks of a cell; returns all rows that they handed over."""
    release, cluster, size = cell
    started: list[Ranks] = []
    for name, value in (("gpu", gpu), ("release", release), ("cluster", cluster.value), ("ranks", size)):
        record_property(name, value)

    def go(query: str, *, fails: bool = False, env: dict[str, str] | None = None, **changes: Any) -> Any:
        options = {} if release == "26.04" else SMALL
        asked = wanted(
            tmp_path, tables, query,
            **{"release": release, "cluster": cluster, "replicas": size, "executorOptions": options, **changes},
        )  # fmt: skip
        ranks = Ranks(python, tmp_path, size, asked, "own", "run", **SHARING, **(env or {}))
        started.append(ranks)
        said = ranks.ended()
        if fails:
            return said, ranks
        for index, one in enumerate(said):
            assert "added" in one[-1], f"rank {index}: {one}\n{ranks.log(index)[-3000:]}"
        files = list(ranks.folder.glob("ranks/*/kept/*.parquet"))
        got = pl.concat([pl.read_parquet(file) for file in files]) if files else expected(asked).clear()
        record_property("rows", got.height)
        record_property("notes", ranks.gates.notes)
        same(got, expected(asked))
        return got, ranks

    yield go
    for ranks in started:
        ranks.close()


@CELLS
@pytest.mark.parametrize("query", TPCH)
def test_a_query_of_tpch(run: Run, query: str) -> None:
    run(TPCH[query], language="python")


@CELLS
@pytest.mark.parametrize("name", ["revenue-by-region"])
def test_the_sql_of_an_example(run: Run, name: str) -> None:
    spec = example(name)
    run(spec["query"]["sql"], parameters=spec["parameters"])


@CELLS
def test_a_result_that_every_rank_holds_comes_out_once(run: Run) -> None:
    got, ranks = run("select count(*) as n, sum(l_quantity) as q from lineitem")
    assert got.height == 1
    if len(ranks.processes) > 1:
        assert [note.get("replicated") for note in ranks.gates.notes.values()] == [True] * len(ranks.processes)


@CELLS
def test_rows_that_are_spread_come_from_more_than_one_rank(run: Run, size: int) -> None:
    _, ranks = run("select l_orderkey, l_partkey, l_extendedprice from lineitem where l_quantity > 3")
    handed = {file.parents[1].name for file in ranks.folder.glob("ranks/*/kept/*.parquet")}
    assert len(handed) > 1 or size == 1


@CELLS
def test_the_result_may_be_empty(run: Run) -> None:
    got, _ = run("select l_orderkey from lineitem where l_orderkey < 0")
    assert got.height == 0


@CELLS
@pytest.mark.parametrize("codec", ["zstd", "snappy", "lz4", "uncompressed"])
def test_every_compression_is_written(run: Run, tmp_path: Path, codec: str) -> None:
    run(
        "select o_orderkey, o_totalprice from orders where o_orderkey < 1000",
        output={"uri": f"file://{tmp_path}/out", "compression": codec},
    )


@CELLS
def test_what_the_gpu_does_is_told(run: Run, release: str) -> None:
    _, ranks = run(TPCH["Q5"], language="python")
    for note in ranks.gates.notes.values():
        assert note["gpu_memory_peak"] > 0
        assert release == "26.04" or "statistics" in note


ALONE = [(r, c, s) for r, c, s in cells() if s == 1 and r != "26.04"]  # 26.04 makes its memory resource itself


@pytest.mark.parametrize(("release", "cluster", "size"), ALONE, ids=[r for r, _, _ in ALONE])
def test_memory_that_does_not_suffice_is_told_as_such(run: Run) -> None:
    """A pool of 64 MB that cannot grow. Of one rank: others would wait for it until their supervisors end them."""
    pool = {
        "CUDF_POLARS__MEMORY_RESOURCE_CONFIG__QUALNAME": "rmm.mr.PoolMemoryResource",
        "CUDF_POLARS__MEMORY_RESOURCE_CONFIG__OPTIONS": '{"upstream_mr": {"qualname": "rmm.mr.CudaMemoryResource"}, '
        '"initial_pool_size": 67108864, "maximum_pool_size": 67108864}',
    }
    said, _ = run(
        "select * from lineitem join orders on l_orderkey = o_orderkey",
        fails=True, env=pool, executorOptions={"target_partition_size": 1 << 30},
    )  # fmt: skip
    failures = {one[-1].get("failure") for one in said}
    assert Failure.GPU_OUT_OF_MEMORY.value in failures, said
