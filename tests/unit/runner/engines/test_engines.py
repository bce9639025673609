"""Engines are found by their entry points; one that another distribution brings goes first."""

import importlib.metadata
import importlib.util
import threading
from pathlib import Path
from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import engines
from gpuquery.runner.engines.cpu import CpuEngine
from gpuquery.runner.engines.rapidsmpf import communicator
from gpuquery.runner.failures.errors import JobError


class Another:
    name = "cpu"


def installed(folder: Path, *distributions: str, name: str = "cpu") -> list[importlib.metadata.EntryPoint]:
    """Entry points of distributions that lie in a folder; GpuQuery's own engine, the others' is `Another`."""
    found = []
    for number, distribution in enumerate(distributions):
        home = folder / str(number) / f"{distribution}-1.dist-info"
        home.mkdir(parents=True)
        value = "gpuquery.runner.engines.cpu:CpuEngine" if distribution == "gpuquery" else f"{__name__}:Another"
        (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (home / "entry_points.txt").write_text(f"[{engines.GROUP}]\n{name} = {value}\n")
        found += importlib.metadata.PathDistribution(home).entry_points
    return found


def found(monkeypatch: pytest.MonkeyPatch, points: list[importlib.metadata.EntryPoint], name: str = "cpu") -> Any:
    monkeypatch.setattr(engines, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", _load)
    return engines.find(name)


def _load(point: importlib.metadata.EntryPoint) -> type:
    return CpuEngine if point.value.startswith("gpuquery.") else Another


@pytest.mark.parametrize(
    ("distributions", "want"),
    [
        pytest.param(["gpuquery"], CpuEngine, id="ours alone"),
        pytest.param(["another"], Another, id="another alone"),
        pytest.param(["gpuquery", "another"], Another, id="another goes before ours"),
        pytest.param(["another", "gpuquery"], Another, id="whatever the order"),
        pytest.param(["gpuquery", "gpuquery"], CpuEngine, id="ours, on two paths"),
        pytest.param(["An_other", "an-other", "gpuquery"], Another, id="another, on two paths"),
    ],
)
def test_which_engine_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, distributions: list[str], want: type
) -> None:
    assert isinstance(found(monkeypatch, installed(tmp_path, *distributions)), want)


def test_two_others_of_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="brought by first and by second, and only one") as raised:
        found(monkeypatch, installed(tmp_path, "first", "gpuquery", "second"))
    assert raised.value.failure is Failure.INVALID_PLAN


def test_a_missing_engine_is_told_with_those_that_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r'engine "cpu" is not in this image \(it has: other\)'):
        found(monkeypatch, installed(tmp_path, "gpuquery", name="other"))


def test_rapidsmpf_is_not_in_an_image_without_rapids() -> None:
    if importlib.util.find_spec("cudf_polars"):
        pytest.skip("cudf-polars is installed here")
    from gpuquery.runner.engines.rapidsmpf import RapidsmpfEngine

    with pytest.raises(JobError, match="needs cudf_polars and rapidsmpf, which this image lacks: use a") as raised:
        RapidsmpfEngine()
    assert raised.value.failure is Failure.INVALID_PLAN


def test_a_wait_without_end_ends() -> None:
    never = threading.Event()
    try:
        with pytest.raises(JobError, match="waiting for all 2 ranks to connect took longer than 0 s: a rank") as raised:
            communicator.within(0.05, never.wait, "waiting for all 2 ranks to connect")
        assert raised.value.failure is Failure.RANK_STALLED
    finally:
        never.set()


def test_a_wait_returns_and_raises_what_its_call_does() -> None:
    def fails() -> None:
        raise ValueError("as it was")

    assert communicator.within(60, lambda: 7, "counting") == 7
    with pytest.raises(ValueError, match="as it was"):
        communicator.within(60, fails, "failing")
