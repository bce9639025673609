"""Facts of each release that decide sizes, flags, protocols and what SQL becomes: as they were read in the packages.

The rows are written out, so that a fact that changes with a refactoring of the table is seen.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gpuquery
from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import releases, sizing
from gpuquery.plan.releases import RELEASES
from gpuquery.runner.query.sql.compile.target import CPU, Target

if TYPE_CHECKING:
    from gpuquery.plan.releases import Release

GB, MB = 10**9, 10**6
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED
TASKS, RAPIDSMPF = EngineChoice.TASKS, EngineChoice.RAPIDSMPF
BASIC = {"count", "count_star", "sum", "avg", "mean", "min", "max", "any_value", "bool_and", "bool_or"}
SPREAD = {"stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop"}

DASK = {
    #        scheme  jit-unspill  own memory resource
    "25.08": ("ucxx", True, False),
    "25.10": ("ucx", True, False),
    "25.12": ("ucx", True, False),
    "26.02": ("ucx", True, False),
    "26.04": ("ucx", True, False),
    "26.06": ("ucx", False, True),
    "26.08": ("ucx", False, True),
    "26.10": ("ucx", False, True),
}
SQL = {
    #        full groups  sorts  windows  aggregates in parts
    "25.08": (False, False, False, BASIC),
    "25.10": (False, False, False, BASIC),
    "25.12": (False, False, False, BASIC),
    "26.02": (False, False, False, BASIC),
    "26.04": (False, False, False, BASIC),
    "26.06": (True, False, False, BASIC),
    "26.08": (True, False, False, BASIC),
    "26.10": (True, True, True, BASIC | SPREAD),
}
READS = {
    "25.08": None,
    "25.10": None,
    "25.12": None,
    "26.02": ("max_io_threads", 2),
    "26.04": ("max_io_threads", 4),
    "26.06": ("max_io_threads", 4),
    "26.08": ("max_io_threads", 4),
    "26.10": ("max_concurrent_io_tasks", 8),
}
TO_2604 = {
    # engine, cluster, memory of a GPU: least, default and most bytes of a partition
    (TASKS, SINGLE, GB): (GB, GB, 10 * GB),
    (TASKS, SINGLE, 80 * GB): (GB, 5 * GB, 10 * GB),
    (TASKS, SINGLE, 999 * GB): (GB, 10 * GB, 10 * GB),
    (TASKS, DISTRIBUTED, 80 * GB): (GB, 2 * GB, 10 * GB),
    (RAPIDSMPF, SINGLE, 80 * GB): (GB, 2 * GB, 10 * GB),
    (RAPIDSMPF, DISTRIBUTED, 999 * GB): (GB, 10 * GB, 10 * GB),
}
FROM_2606 = {
    (RAPIDSMPF, SINGLE, 1): (1, 1, 1_500 * MB),
    (RAPIDSMPF, SINGLE, GB): (25 * MB, 25 * MB, 1_500 * MB),
    (RAPIDSMPF, SINGLE, 16 * GB): (100 * MB, 400 * MB, 1_500 * MB),
    (RAPIDSMPF, DISTRIBUTED, 80 * GB): (100 * MB, 1_500 * MB, 1_500 * MB),
    (TASKS, SINGLE, 16 * GB): (100 * MB, 400 * MB, 1_500 * MB),
}
PARTITIONS = {name: TO_2604 if name <= "26.04" else FROM_2606 for name in RELEASES}


@pytest.mark.parametrize("name", RELEASES)
def test_what_dask_of_each_release_does(name: str) -> None:
    dask = RELEASES[name].dask
    jit_unspill = "enable-jit-unspill" not in dask.without
    assert (dask.protocol, jit_unspill, dask.own_resource) == DASK[name]


@pytest.mark.parametrize("name", RELEASES)
def test_what_each_release_makes_of_sql(name: str) -> None:
    sql = RELEASES[name].sql
    assert (sql.full_groups, sql.sorts, sql.windows, set(sql.aggregates)) == SQL[name]


def limits(release: Release, engine: EngineChoice, cluster: ClusterChoice, memory: int) -> sizing.Limits:
    return sizing.Limits(release=release, engine=engine, cluster=cluster, gpu_memory=memory)


@pytest.mark.parametrize(
    ("name", "engine", "cluster", "memory"), [(name, *key) for name in RELEASES for key in PARTITIONS[name]]
)
def test_how_large_partitions_of_each_release_are(
    name: str, engine: EngineChoice, cluster: ClusterChoice, memory: int
) -> None:
    found = sizing.partition_bounds(limits(RELEASES[name], engine, cluster, memory))
    assert found == PARTITIONS[name][engine, cluster, memory]


@pytest.mark.parametrize("name", RELEASES)
def test_how_many_reads_of_each_release_are_in_flight(name: str) -> None:
    release = RELEASES[name]
    for engine in (TASKS, RAPIDSMPF):
        want = READS[name] if engine is RAPIDSMPF else None
        one = limits(release, engine, SINGLE, 80 * GB)
        assert sizing.io_tasks(one, io_bound=False) == (want[1] if want else None)
        assert sizing.io_tasks(one, io_bound=True) == (2 * want[1] if want else None)
        told = sizing.options(sizing.size(None, one), release)
        assert {key: value for key, value in told.items() if key != "target_partition_size"} == dict(
            [want] if want else []
        )


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        pytest.param("26.08", "26.08", id="a known one is itself"),
        pytest.param("26.09", "26.08", id="one in between is the last before it"),
        pytest.param("99.02", "26.10", id="a later one is the newest"),
        pytest.param("24.12", "25.08", id="an older one is the first"),
    ],
)
def test_a_release_that_is_not_known_counts_as_the_last_before_it(asked: str, want: str) -> None:
    assert releases.nearest(asked).name == want
    assert Target(asked).facts == RELEASES[want].sql


def test_on_the_cpu_groups_lack_nothing_and_no_release_says_anything() -> None:
    assert CPU.full_groups and CPU.facts is None


LISTS = (
    "api/engines.py",
    "plan/releases/",
    "runner/query/sql/functions/lacks.py",
    "runner/query/sql/compile/aggregate_functions_",
)
"""Where names of releases stand: the words of the object, the table, and which functions of SQL each release lacks."""


def test_no_other_file_decides_by_the_name_of_a_release() -> None:
    house = Path(gpuquery.__file__).parent
    found = {}
    for file in house.rglob("*.py"):
        room, text = str(file.relative_to(house)), file.read_text()
        if not any(name in text for name in RELEASES):
            continue
        words = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        if names := [word for word in words if word in RELEASES]:
            found[room] = names
    others = {room: names for room, names in found.items() if not room.startswith(LISTS)}
    assert others == {}, "put what the release does otherwise into its row of plan/releases/table.py"
    assert found, "nothing was searched"
