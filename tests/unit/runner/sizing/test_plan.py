"""Sizing: pods, GPUs and partitions from what a preflight found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.status import PreflightStatus
from gpuquery.plan.releases import RELEASES
from gpuquery.plan.sizing import (
    SMALLEST_PARTITION,
    Limits,
    Sizing,
    io_tasks,
    options,
    partition_bounds,
    partition_size,
    size,
)

GB, TB = 10**9, 10**12


def found(read: float, held: float = 0, *, io_bound: bool = False) -> PreflightStatus:
    return PreflightStatus(
        polars="1.44.2", input_bytes=int(read), peak_bytes=int(held), io_bound=io_bound, basis="footers"
    )


def limits(**changes: Any) -> Limits:
    given: dict[str, Any] = {
        "release": "26.10", "engine": EngineChoice.RAPIDSMPF, "gpu_memory": 80 * GB, "max_replicas": 16, "max_gpus": 8
    }  # fmt: skip
    given |= changes
    return Limits(**{**given, "release": RELEASES[given["release"]]})


@pytest.mark.parametrize(
    ("data", "change", "want"),
    [
        pytest.param(None, {}, (1, 1, "single"), id="unknown data gets one GPU"),
        pytest.param(found(GB), {}, (1, 1, "single"), id="small data gets one GPU"),
        pytest.param(found(100 * GB, 40 * GB), {}, (1, 1, "single"), id="half of a GPU can be held"),
        pytest.param(found(100 * GB, 41 * GB), {}, (1, 2, "distributed"), id="more than half takes a second GPU"),
        pytest.param(found(100 * GB, 200 * GB), {}, (1, 8, "distributed"), id="pods get 1, 2, 4 or 8 GPUs"),
        pytest.param(found(1 * TB, 641 * GB), {}, (3, 8, "distributed"), id="a full pod before another"),
        pytest.param(found(6 * TB), {}, (2, 8, "distributed"), id="a plan that only streams is sized by reading time"),
        pytest.param(found(90 * TB), {}, (16, 8, "distributed"), id="never more pods than allowed"),
        pytest.param(found(1 * TB, 200 * GB), {"gpus": 1}, (5, 1, "distributed"), id="GPUs in a pod as asked for"),
        pytest.param(found(1 * TB, 200 * GB), {"replicas": 2}, (2, 4, "distributed"), id="pods as asked for"),
        pytest.param(found(GB), {"replicas": 3, "gpus": 2}, (3, 2, "distributed"), id="both as asked for"),
        pytest.param(found(9 * TB, 9 * TB), {"cluster": ClusterChoice.SINGLE}, (1, 1, "single"), id="single is one"),
        pytest.param(
            found(GB), {"cluster": ClusterChoice.DISTRIBUTED}, (1, 1, "distributed"), id="the shape as asked for"
        ),
        pytest.param(
            found(9 * TB), {"engine": EngineChoice.CPU, "gpu_memory": 0}, (1, 0, "single"), id="the CPU has no GPU"
        ),
    ],
)
def test_pods_and_gpus(data: PreflightStatus | None, change: dict[str, Any], want: tuple[int, int, str]) -> None:
    got = size(data, limits(**change))
    assert (got.replicas, got.gpus, got.cluster.value) == want


@pytest.mark.parametrize(
    ("change", "io_bound", "share", "want"),
    [
        pytest.param({}, False, None, 1_500_000_000, id="26.06 on: 1.5 GB on large GPUs"),
        pytest.param({"gpu_memory": 16 * GB}, False, None, 400_000_000, id="26.06 on: 2.5 % on small ones"),
        pytest.param({}, True, None, 750_000_000, id="more partitions in flight where reading takes longest"),
        pytest.param({}, False, 2 * GB, 500_000_000, id="four partitions at least for each GPU"),
        pytest.param({}, False, 1000, 100_000_000, id="but not crumbs"),
        pytest.param({"release": "26.04"}, False, None, 2_000_000_000, id="rapidsmpf up to 26.04: 2.5 %"),
        pytest.param(
            {"release": "26.04", "engine": EngineChoice.TASKS, "cluster": ClusterChoice.SINGLE},
            False, None, 5_000_000_000, id="tasks on one GPU: 6.25 %",
        ),
        pytest.param({"release": "26.04", "gpu_memory": 16 * GB}, True, 1000, GB, id="up to 26.04: 1 GB at least"),
        pytest.param({"release": "26.04", "gpu_memory": 999 * GB}, False, None, 10 * GB, id="and 10 GB at most"),
        pytest.param({"out_of_memory": 1}, False, None, 750_000_000, id="half after the GPU's memory ran out"),
        pytest.param({"out_of_memory": 2}, False, None, 375_000_000, id="and half again"),
        pytest.param({"out_of_memory": 99}, False, None, SMALLEST_PARTITION, id="but never nothing"),
    ],
)  # fmt: skip
def test_partition_size(change: dict[str, Any], io_bound: bool, share: float | None, want: int) -> None:
    one = limits(**({"cluster": ClusterChoice.DISTRIBUTED} | change))
    assert partition_size(one, io_bound=io_bound, share=share) == want


def test_reads_in_flight_bear_the_name_of_the_release() -> None:
    def told(release: str, engine: EngineChoice = EngineChoice.RAPIDSMPF) -> dict[str, Any]:
        one = limits(release=release, engine=engine)
        return options(size(found(50 * GB, io_bound=True), one), RELEASES[release])

    assert told("26.10")["max_concurrent_io_tasks"] == 16
    assert told("26.08")["max_io_threads"] == 8
    assert told("26.02")["max_io_threads"] == 4
    assert set(told("25.12")) == set(told("26.04", EngineChoice.TASKS)) == {"target_partition_size"}
    assert io_tasks(limits(), io_bound=False) == 8


@pytest.mark.parametrize(
    ("data", "change", "words"),
    [
        pytest.param(
            found(3.1 * TB, 500 * GB), {},
            "3.1 TB in memory to read, 500 GB to hold (footers); 13 GPUs of 80 GB hold the working set in half of "
            "their memory; partitions of 1.5 GB", id="memory decides",
        ),
        pytest.param(
            found(90 * TB, io_bound=True), {},
            "90 TB in memory to read (footers); 150 GPUs read it in about 10 minutes; at most 128 are allowed; "
            "partitions of 750 MB", id="a limit is told",
        ),
        pytest.param(
            None, {"out_of_memory": 2},
            "the size of the data is not known; partitions of 375 MB; halved twice after the GPU's memory ran out",
            id="a retry is told",
        ),
    ],
)  # fmt: skip
def test_why(data: PreflightStatus | None, change: dict[str, Any], words: str) -> None:
    assert size(data, limits(**change)).why == words


@pytest.mark.parametrize("change", [{"gpu_memory": 0}, {"replicas": 0}, {"gpus": 0}, {"max_replicas": 0}])
def test_limits_that_are_none_are_named(change: dict[str, int]) -> None:
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        size(found(GB), limits(**change))


@st.composite
def any_limits(draw: st.DrawFn) -> Limits:
    some = st.none() | st.integers(1, 64)
    return limits(
        release=draw(st.sampled_from(list(RELEASES))),
        engine=draw(st.sampled_from([EngineChoice.TASKS, EngineChoice.RAPIDSMPF])),
        cluster=draw(st.sampled_from(list(ClusterChoice))),
        gpu_memory=draw(st.integers(1, 400 * GB)),
        replicas=draw(some),
        gpus=draw(st.none() | st.integers(1, 16)),
        max_replicas=draw(st.integers(1, 64)),
        max_gpus=draw(st.sampled_from([1, 2, 4, 8, 16])),
        out_of_memory=draw(st.integers(0, 100)),
    )


AMOUNTS = st.integers(0, 2**62)


@given(any_limits(), AMOUNTS, AMOUNTS, st.booleans())
def test_clamps_hold_whatever_the_data(one: Limits, read: int, held: int, io_bound: bool) -> None:
    got = size(found(read, held, io_bound=io_bound), one)
    if one.cluster is ClusterChoice.SINGLE:
        assert (got.replicas, got.gpus) == (1, 1)
    else:
        assert got.replicas == one.replicas or 1 <= got.replicas <= one.max_replicas
        assert got.gpus == one.gpus or 1 <= got.gpus <= one.max_gpus
    assert got.cluster is not ClusterChoice.AUTO
    least, _, most = partition_bounds(limits_of(got, one))
    assert got.target_partition_size is not None
    assert 1 <= got.target_partition_size <= most
    if not one.out_of_memory:
        assert least <= got.target_partition_size
    assert len(got.why) < 1000


@given(any_limits(), AMOUNTS, AMOUNTS, AMOUNTS, st.booleans())
def test_more_data_never_gets_less(one: Limits, read: int, held: int, more: int, io_bound: bool) -> None:
    def gpus(sizing: Sizing) -> int:
        return sizing.replicas * sizing.gpus

    small = size(found(read, held, io_bound=io_bound), one)
    assert gpus(small) <= gpus(size(found(read + more, held, io_bound=io_bound), one))
    assert gpus(small) <= gpus(size(found(read, held + more, io_bound=io_bound), one))


@given(any_limits(), AMOUNTS, st.booleans())
def test_every_retry_gets_half_or_the_smallest(one: Limits, read: int, io_bound: bool) -> None:
    def partition(count: int) -> int:
        got = size(found(read, io_bound=io_bound), limits_with(one, count)).target_partition_size
        assert got is not None
        return got

    first = partition(0)
    for count in range(1, 8):
        assert partition(count) == max(first >> count, min(SMALLEST_PARTITION, first))


def limits_of(got: Sizing, one: Limits) -> Limits:
    return Limits(**({**vars(one)} | {"cluster": got.cluster}))


def limits_with(one: Limits, out_of_memory: int) -> Limits:
    return Limits(**({**vars(one)} | {"out_of_memory": out_of_memory}))
