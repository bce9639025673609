"""Whether each engine on each cluster is in each release what the table says, as far as that shows without a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import releases
from gpuquery.plan.releases import Release, Way
from tests.releases.conftest import Package, about, agree, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.releases
TASKS, RAPIDSMPF, CPU = EngineChoice.TASKS, EngineChoice.RAPIDSMPF, EngineChoice.CPU
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED
CELLS = [(engine, cluster) for engine in (TASKS, RAPIDSMPF) for cluster in (SINGLE, DISTRIBUTED)]
Key = tuple[EngineChoice, ClusterChoice]


@rows("engine, cluster", lambda release: CELLS)
def test_whether_a_cell_can_return_a_result(package: Package, engine: EngineChoice, cluster: ClusterChoice) -> None:
    release, cell = package.release, package.release.cells[engine, cluster]
    row = f"{engine} x {cluster}"
    if cell.options is not None:
        answer = package.configure(cell.options)
        agree(release, f"{row}, options {cell.options}", table=cell.collects, package="executor" in answer)
        for name, value in cell.options.items():
            agree(release, f"{row}, {name}", table=value, package=answer["executor"][name])
    elif cell.way is Way.SPMD:
        found = set(package.ask("parameters", path=release.words["SPMD"]))
        wanted = {"comm", "rapidsmpf_options", "executor_options", "engine_options"}
        agree(release, f"{row}, parameters of the engine class", table=wanted, package=wanted & found)
    else:
        answer = package.configure({"runtime": str(engine)})
        refused = "unexpected keyword argument 'runtime'" in answer.get("error", "")
        agree(release, row, table=cell.collects, package=not refused)


def collecting(release: Release) -> list[Key]:
    """Return the cells that can return a result."""
    return [key for key in CELLS if release.cells[key].collects]


@rows("engine, cluster", collecting)
def test_whether_a_cell_can_write(package: Package, engine: EngineChoice, cluster: ClusterChoice) -> None:
    release, cell = package.release, package.release.cells[engine, cluster]
    row = f"{engine} x {cluster}"
    if engine is TASKS:
        found = package.ask("knows", path="cudf_polars.experimental.io.StreamingSink")
        agree(release, f"{row}, sinks", table=cell.sinks, package=found)
        return
    actor = package.ask("sink_actor")
    agree(release, f"{row}, sinks", table=cell.sinks, package=actor is not None)
    if actor is not None and cluster is DISTRIBUTED:
        agree(release, f"{row}, replicated_safe", table=cell.replicated_safe, package=actor["passes_over_copies"])


def test_every_refused_cell_says_why_and_every_other_how() -> None:
    for release in releases.RELEASES.values():
        for (engine, cluster), cell in release.cells.items():
            assert (cell.way is None) == bool(cell.because), f"{release.name}, {engine} x {cluster}"
            assert cell.way is None or (cell.collects and cell.sinks), f"{release.name}, {engine} x {cluster}"


def test_polars_own_engine(package: Package) -> None:
    agree(package.release, "cpu x single", table=Way.POLARS, package=package.ask("cpu") == 6 and Way.POLARS)
    assert package.release.cells[CPU, SINGLE].way is Way.POLARS


@about("25.12")
def test_25_12_runs_a_cluster_on_one_gpu_without_a_word(package: Package) -> None:
    options = {"runtime": "rapidsmpf", "cluster": "distributed"}
    agree(package.release, "warnings", table=[], package=package.configure(options)["warnings"])
    reached = package.ask("distributed_guard", options=options)
    agree(package.release, "defects", table={"runs": "rapidsmpf.communicator.single"}, package=reached)


@about("25.12", "26.02", "26.04")
def test_26_02_calls_its_cluster_under_construction(package: Package) -> None:
    warned = package.configure({"runtime": "rapidsmpf", "cluster": "distributed"})["warnings"]
    because = package.release.cells[RAPIDSMPF, DISTRIBUTED].because
    agree(
        package.release,
        "rapidsmpf x distributed, because",
        table="under construction" in because,
        package=any("UNDER CONSTRUCTION" in text for text in warned),
    )


@about("26.04")
def test_26_04_ranks_would_write_one_file(package: Package) -> None:
    executor = package.configure({"runtime": "rapidsmpf", "cluster": "spmd"})["executor"]
    agree(package.release, "defects: SPMD", table=False, package=executor["sink_to_directory"])


def running(release: Release) -> list[Key]:
    """Return the cells that are run."""
    return [key for key in CELLS if release.cells[key].way is not None]


@rows("engine, cluster", running)
def test_what_only_a_gpu_shows(package: Package, engine: EngineChoice, cluster: ClusterChoice) -> None:
    cell = package.release.cells[engine, cluster]
    assert cell.unverified
    pytest.skip(f"{package.release.name}, {engine} x {cluster}, needs GPUs: {cell.unverified}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A combination that some releases refuse and some take, and which is refused here in all of them."""

    title: str
    first: str
    last: str
    options: Mapping[str, Any]
    error: str | None
    """What the release says; None if it takes the combination."""
    engine: EngineChoice
    cluster: ClusterChoice
    asked: Mapping[str, Any]
    """The same as a user of GpuQuery would write it."""
    env: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.title}, {self.engine}"

    def concerns(self, release: Release) -> bool:
        """Whether the row is about a release."""
        order = releases.names()
        return order.index(self.first) <= order.index(release.name) <= order.index(self.last)


FIXED = {"engine": TASKS, "cluster": SINGLE}
RANKS = {"engine": RAPIDSMPF, "cluster": DISTRIBUTED}
SHUFFLE = "CUDF_POLARS__EXECUTOR__SHUFFLE_METHOD"
ROWS = [
    Row(
        title="rapidsmpf cannot shuffle on one GPU", first="25.08", last="25.08", engine=TASKS, cluster=SINGLE,
        options={"scheduler": "synchronous", "shuffle_method": "rapidsmpf"}, error="ValueError.*synchronous scheduler",
        asked={"shuffle_method": "rapidsmpf"},
    ),
    Row(
        title="several GPUs, one file", first="25.08", last="25.10", engine=TASKS, cluster=DISTRIBUTED,
        options={"scheduler": "distributed", "sink_to_directory": False},
        error="ValueError.*distributed scheduler requires sink_to_directory=True", asked={"sink_to_directory": False},
    ),
    Row(
        title="several GPUs, one file", first="25.12", last="26.04", engine=TASKS, cluster=DISTRIBUTED,
        options={"cluster": "distributed", "sink_to_directory": False},
        error="ValueError.*distributed cluster requires sink_to_directory=True", asked={"sink_to_directory": False},
    ),
    Row(
        title="several ranks, one file", first="26.06", last="26.10", **RANKS,
        options={"cluster": "spmd", "sink_to_directory": False}, error="ValueError.*requires sink_to_directory=True",
        asked={"sink_to_directory": False},
    ),
    Row(
        title="spill on one GPU", first="25.08", last="25.08", **FIXED,
        options={"scheduler": "synchronous", "rapidsmpf_spill": True}, error=None, asked={"rapidsmpf_spill": True},
    ),
    Row(
        title="spill on one GPU", first="25.10", last="25.10", **FIXED,
        options={"scheduler": "synchronous", "rapidsmpf_spill": True},
        error="ValueError.*rapidsmpf_spill is not supported", asked={"rapidsmpf_spill": True},
    ),
    Row(
        title="spill on one GPU", first="25.12", last="26.04", **FIXED,
        options={"cluster": "single", "rapidsmpf_spill": True}, error="ValueError.*rapidsmpf_spill is not supported",
        asked={"rapidsmpf_spill": True},
    ),
    Row(
        title="the release's own word", first="25.08", last="26.04", **FIXED,
        options={"shuffle_method": "rapidsmpf-single"}, error="ValueError.*rapidsmpf-single",
        asked={"shuffle_method": "rapidsmpf-single"},
    ),
    Row(
        title="the release's own word", first="25.12", last="26.04", engine=RAPIDSMPF, cluster=SINGLE,
        options={"runtime": "rapidsmpf", "shuffle_method": "rapidsmpf-single"}, error=None,
        asked={"shuffle_method": "rapidsmpf-single"},
    ),
    Row(
        title="tasks shuffle for rapidsmpf", first="25.12", last="26.04", engine=RAPIDSMPF, cluster=SINGLE,
        options={"runtime": "rapidsmpf", "shuffle_method": "tasks"},
        error="ValueError.*does not support task-based shuffling", asked={"shuffle_method": "tasks"},
    ),
    Row(
        title="tasks shuffle for rapidsmpf, by environment", first="25.12", last="26.04", engine=RAPIDSMPF,
        cluster=SINGLE, options={"runtime": "rapidsmpf"}, env={SHUFFLE: "tasks"},
        error="ValueError.*does not support task-based shuffling", asked={},
    ),
    Row(
        title="two names for the cluster", first="25.12", last="26.04", **FIXED,
        options={"scheduler": "synchronous", "cluster": "single"}, error="ValueError.*Cannot specify both",
        asked={"scheduler": "synchronous", "cluster": "single"},
    ),
    Row(
        title="the engine in the options", first="26.06", last="26.10", **RANKS,
        options={"runtime": "rapidsmpf"}, error="TypeError.*runtime", asked={"runtime": "rapidsmpf"},
    ),
    Row(
        title="the old cluster", first="26.06", last="26.10", **RANKS,
        options={"cluster": "distributed"}, error="ValueError.*distributed", asked={"cluster": "distributed"},
    ),
    Row(
        title="the scheduler", first="26.06", last="26.10", **RANKS,
        options={"scheduler": "distributed"}, error="TypeError.*scheduler", asked={"scheduler": "distributed"},
    ),
    Row(
        title="a choice of shuffles", first="26.06", last="26.10", **RANKS,
        options={"shuffle_method": "rapidsmpf"}, error="TypeError.*shuffle_method",
        asked={"shuffle_method": "rapidsmpf"},
    ),
    Row(
        title="pieces larger than their buffer", first="26.10", last="26.10", **RANKS,
        options={"kvikio_task_size": 33_554_432}, error="ValueError.*kvikio_bounce_buffer_bytes must be at least",
        asked={"kvikio_task_size": "32MiB"},
    ),
    Row(
        title="no such option", first="25.08", last="26.10", **RANKS,
        options={"target_partition_sise": 1}, error="TypeError.*target_partition_sise",
        asked={"target_partition_sise": 1},
    ),
]  # fmt: skip


@rows("row", lambda release: [(row,) for row in ROWS if row.concerns(release)])
def test_combinations_that_a_release_refuses_or_should(package: Package, row: Row) -> None:
    release = package.release
    answer = package.configure(row.options, env=row.env)
    if row.error is None:
        assert "executor" in answer, f"{release.name}, {row.title}: taken by the table's account, but {answer}"
    else:
        assert re.search(row.error, answer.get("error", "")), f"{release.name}, {row.title}: {answer}"
    if row.asked:
        _, problems = releases.check_options(release, row.engine, row.cluster, row.asked)
    else:
        _, problems = releases.environment_options(release, row.env, engine=row.engine, cluster=row.cluster)
    assert problems, f"{release.name}, {row.title}: not refused here"


@about("25.12", "26.02", "26.04")
def test_the_old_name_of_the_cluster(package: Package) -> None:
    """`scheduler` is deprecated from 25.12 to 26.04, and means the same."""
    for old, new in (("synchronous", "single"), ("distributed", "distributed")):
        answer = package.configure({"scheduler": old})
        agree(package.release, f"scheduler {old}", table=new, package=answer["executor"]["cluster"])
        assert any("FutureWarning" in text for text in answer["warnings"]), answer


@about("26.06", "26.08", "26.10")
def test_options_of_the_engine_classes_are_not_for_users(package: Package) -> None:
    keys = package.ask("reserved", keys=package.ask("fields"))
    assert {"cluster", "spmd_context", "ray_context", "dask_context"} <= set(keys)
    _, problems = releases.check_options(package.release, RAPIDSMPF, DISTRIBUTED, dict.fromkeys(keys, 1))
    agree(package.release, "options that are reserved", table=len(problems), package=len(keys))
