"""Fingerprints of plans: equal in every process for equal plans, and different for whatever could make ranks differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import agreement
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.fingerprint import Fingerprint, fingerprint
from tests.bench import tpch

ROOT = Path(__file__).parents[4]
C = pl.col


def digests(folder: Path, seed: int, *more: str) -> dict[str, str]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.fingerprints", str(folder), *more]
    path = f"{ROOT / 'operator'}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(seed), "POLARS_MAX_THREADS": str(seed)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return {name: digest for name, (digest, _) in json.loads(ended.stdout).items()}


def test_two_processes_give_every_plan_the_same_fingerprint(tmp_path: Path) -> None:
    tpch.generate(tmp_path, 0.001)
    one, other = digests(tmp_path, 1), digests(tmp_path, 2, "after others")
    assert {"q1", "q22", "revenue-by-region", "late-orders-python", "sub-query", "memory"} <= one.keys()
    assert len(set(one.values())) == len(one), "plans that differ have different fingerprints"
    assert [name for name in one if one[name] != other[name]] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty files, more than any text of a plan lists."""
    for number in range(30):
        frame = pl.DataFrame({"k": [number], "v": [1.5], "d": [date(2024, 1, 1)], "s": ["x"]})
        frame.write_parquet(tmp_path / f"{number:02d}.parquet")
    return tmp_path


Make = Callable[[Path], pl.LazyFrame]


def scan(folder: Path, glob: str = "*.parquet") -> pl.LazyFrame:
    return pl.scan_parquet(folder / glob)


def joined(folder: Path, memory: pl.DataFrame) -> pl.LazyFrame:
    return scan(folder).join(memory.lazy(), on="k")


def first(folder: Path, lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.join(scan(folder, "0*").select("k", w="v"), on="k")


def second(folder: Path) -> pl.LazyFrame:
    return scan(folder, "1*").select("k", u="d")


MANY = list(range(1000))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(lambda f: scan(f).filter(C.k > 1), lambda f: scan(f).filter(C.k > 2), id="a literal"),
        pytest.param(lambda f: scan(f).filter(C.k > 1), lambda f: scan(f).filter(C.k >= 1), id="an operator"),
        pytest.param(
            lambda f: scan(f).filter(C.d > date(2024, 1, 1)), lambda f: scan(f).filter(C.d > date(2024, 1, 2)), id="day"
        ),
        pytest.param(
            lambda f: scan(f).filter(C.k.is_in(MANY)), lambda f: scan(f).filter(C.k.is_in([*MANY[:-1], 7])),
            id="the thousandth of a list",
        ),
        pytest.param(lambda f: scan(f).select(C.v + 0.1), lambda f: scan(f).select(C.v + 0.30000000000000004 - 0.2),
                     id="a number that prints alike"),
        pytest.param(scan, lambda f: scan(f, "[012][0-8].parquet"), id="a file in the middle"),
        pytest.param(
            lambda f: pl.scan_parquet([f / "00.parquet", f / "01.parquet"]),
            lambda f: pl.scan_parquet([f / "01.parquet", f / "00.parquet"]), id="the order of files",
        ),
        pytest.param(
            lambda f: first(f, scan(f)).join(second(f), on="k", how="left"),
            lambda f: first(f, scan(f).join(second(f), on="k", how="left")), id="the order of joins",
        ),
        pytest.param(
            lambda f: joined(f, pl.DataFrame({"k": MANY, "w": MANY})),
            lambda f: joined(f, pl.DataFrame({"k": MANY, "w": [*MANY[:-1], 0]})), id="a value in memory",
        ),
        pytest.param(
            lambda f: joined(f, pl.DataFrame({"k": [1, 2]})), lambda f: joined(f, pl.DataFrame({"k": [2, 1]})),
            id="the order of rows in memory",
        ),
        pytest.param(lambda f: scan(f).select("k", "v"), lambda f: scan(f).select("v", "k"), id="the order of columns"),
        pytest.param(lambda f: scan(f).select("k", "v"), lambda f: scan(f).select("k", "d"), id="another column"),
        pytest.param(lambda f: scan(f).sort("k"), lambda f: scan(f).sort("k", descending=True), id="a direction"),
        pytest.param(lambda f: scan(f).group_by("s").agg(C.v.sum()), lambda f: scan(f).group_by("s").agg(C.v.mean()),
                     id="an aggregate"),
        pytest.param(lambda f: scan(f).head(5), lambda f: scan(f).head(6), id="a limit"),
        pytest.param(lambda f: scan(f).with_columns(n=C.s.str.slice(0, 1)),
                     lambda f: scan(f).with_columns(n=C.s.str.slice(0, 2)), id="an argument of a function"),
        pytest.param(lambda f: scan(f).rename({"k": "a"}), lambda f: scan(f).rename({"k": "b"}), id="a name"),
        pytest.param(lambda f: scan(f).with_columns(n=C.v.rolling_mean(2)),
                     lambda f: scan(f).with_columns(n=C.v.rolling_mean(3)), id="what the view does not show"),
    ],
)  # fmt: skip
def test_what_differs_changes_the_fingerprint(folder: Path, one: Make, other: Make) -> None:
    assert fingerprint(one(folder)).digest == fingerprint(one(folder)).digest
    assert fingerprint(one(folder)).digest != fingerprint(other(folder)).digest


def test_what_does_not_matter_does_not_change_it(folder: Path) -> None:
    whole = pl.DataFrame({"k": [1, 2, 3], "s": ["a", None, "c"]})
    pieces = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert fingerprint(joined(folder, whole)).digest == fingerprint(joined(folder, pieces)).digest
    assert (
        fingerprint(scan(folder).filter((C.k > 1) & (C.v > 1) & (C.s == "x"))).digest
        == fingerprint(scan(folder).filter((C.s == "x") & (C.k > 1) & (C.v > 1))).digest
    ), "some versions of Polars put filters together in any order"


def test_a_plan_deeper_than_the_stack_has_one(folder: Path) -> None:
    expression = C.k
    for _ in range(1500):
        expression = expression + C.v
    assert fingerprint(scan(folder).select(expression)).digest


def test_it_names_files_and_tables(folder: Path) -> None:
    found = fingerprint(joined(folder, pl.DataFrame({"k": [1, 2]})))
    assert [source.label for source in found.sources] == [
        f"input of 30 files from {folder}/00.parquet",
        "table in memory of 2 rows (k)",
    ]
    assert Fingerprint.of_value(json.loads(json.dumps(found.value()))) == found


def differing(*frames: pl.LazyFrame) -> str:
    with pytest.raises(JobError) as caught:
        agreement._check([fingerprint(frame) for frame in frames])
    assert caught.value.failure is Failure.PLANS_DIFFER
    return caught.value.message


def test_a_difference_is_told_with_who_and_what(folder: Path) -> None:
    usual = joined(folder, pl.DataFrame({"k": [1, 2]}))
    agreement._check([fingerprint(usual)] * 4)
    text = differing(usual, usual, joined(folder, pl.DataFrame({"k": [1, 2, 3]})))
    assert "process 2 of 3 made another plan" in text
    assert "table in memory of 3 rows (k) in process 2, table in memory of 2 rows (k) in the others" in text
    assert "not the same table in memory of 2 rows (k)" in differing(usual, joined(folder, pl.DataFrame({"k": [1, 3]})))
    text = differing(usual.filter(C.v > 1), usual.filter(C.v > 2), usual.filter(C.v > 1), usual.filter(C.v > 3))
    assert "processes 1, 3 of 4" in text and "no random numbers" in text
    assert "process 0 of 3" in differing(usual.filter(C.v > 2), usual, usual), "most of them are right"
    assert "1 sources in process 1, 2 in the others" in differing(usual, scan(folder))
    text = differing(*(usual.filter(C.v > number) for number in range(3)))
    assert text.startswith("each of the 3 processes made another plan")
