"""Three files, one of them with some bytes changed: right rows, or an error that names that file."""

from __future__ import annotations

import io
import itertools
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs.explain import lookup
from tests.support import broken_files
from tests.support.broken_inputs import Runner
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECONDS = 60
FILES = 3
GOOD = [broken_files.parquet(n * broken_files.ROWS) for n in range(FILES)]
COLUMNS = ["a", "s", "f"]
NUMBER = itertools.count()
Case = tuple[int, list[tuple[int, int]]]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


def places(data: bytes) -> st.SearchStrategy[int]:
    """Any byte, or one of where few bytes say much: the headers of pages, and the footer."""
    heads = []
    for group in range(4):
        for column in range(3):
            at = broken_files.chunk(data, group, column)
            heads += [at.dictionary_page_offset, at.data_page_offset]
    near = st.builds(lambda start, offset: start + offset, st.sampled_from([h for h in heads if h]), st.integers(0, 24))
    return st.one_of(near, st.integers(broken_files.footer_at(data), len(data) - 1), st.integers(0, len(data) - 1))


@st.composite
def changes(draw: st.DrawFn) -> Case:
    """Which file, and which of its bytes become which: one to four of them."""
    number = draw(st.integers(0, FILES - 1))
    byte = st.tuples(places(GOOD[number]), st.integers(0, 255))
    return number, draw(st.lists(byte, min_size=1, max_size=4))


def mutated(case: Case) -> bytes:
    number, new = case
    data = bytearray(GOOD[number])
    for place, value in new:
        data[place] = value
    return bytes(data)


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    """Rows in an order of their own; NaN equals NaN here."""
    return sorted(map(repr, zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)))  # type: ignore[return-value]


def expected(files: list[bytes]) -> pa.Table | None:
    """What pyarrow reads; None if it refuses one of the files."""
    try:
        tables = [pq.ParquetFile(io.BytesIO(data)).read() for data in files]
        table = pa.concat_tables(tables, promote_options="permissive").select(COLUMNS)
        table.validate(full=True)  # it reads texts that are no UTF-8
        return table
    except Exception:  # pyarrow has many
        return None


def check(runner: Runner, folder: Path, number: int, data: bytes, new: Sequence[tuple[int, int]] = ()) -> None:
    for n in range(FILES):
        (folder / f"{n}.parquet").write_bytes(data if n == number else GOOD[n])
    report = runner.run(folder, SECONDS)
    broken = f"{folder}/{number}.parquet"
    if report is None:
        item = Input.model_validate({"name": "t", "uri": f"file://{folder}/*.parquet", "format": "parquet"})
        found = lookup.broken(lookup.Task((item,), StoreAccess())).broken
        assert [one.file for one in found] == [broken], "a crash names the file"
    elif report["failure"] is not None:
        assert report["failure"] == "InvalidInput", report["message"]
        assert broken in report["message"], report["message"]
        assert len(report["message"]) <= 1300
    else:
        got = rows(
            pa.concat_tables([pq.read_table(one) for one in sorted((folder / "out" / "data").glob("*.parquet"))])
        )
        # pyarrow refuses more than Polars needs, such as odd sizes in headers. A value that has changed must be one
        # that pyarrow sees too, if only some of the bytes are changed.
        some = [part for size in range(len(new) + 1) for part in itertools.combinations(new, size)]
        seen = [
            expected([mutated((number, list(part))) if n == number else GOOD[n] for n in range(FILES)]) for part in some
        ]
        assert got in [rows(one) for one in seen if one is not None], "rows that no other reader sees"


def tried(runner: Runner, root: Path, case: Case) -> None:
    folder = root / str(next(NUMBER))
    folder.mkdir()
    check(runner, folder, case[0], mutated(case), case[1])


@examples(48)
@given(case=changes())
def test_a_file_with_other_bytes_is_read_as_pyarrow_reads_it_or_named(
    runner: Runner, tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    tried(runner, tmp_path_factory.mktemp("mutated"), case)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@settings(max_examples=int(os.environ.get("MUTATIONS", "3000")))
@given(case=changes())
def test_thousands_of_files_with_other_bytes_are_read_as_pyarrow_reads_them_or_named(
    runner: Runner, tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    tried(runner, tmp_path_factory.mktemp("mutated"), case)


@pytest.mark.parametrize("fault", [name for name in broken_files.PARQUET if "crash" not in name])
def test_each_known_fault_is_named_by_the_query(runner: Runner, tmp_path: Path, fault: str) -> None:
    check(runner, tmp_path, 1, broken_files.PARQUET[fault](GOOD[1]))


def test_a_last_row_group_that_claims_more_rows_than_the_file_is_named(runner: Runner, tmp_path: Path) -> None:
    at = GOOD[0].rindex(b"\x16\xf4\x03") + 1  # i64 250 as zigzag
    check(runner, tmp_path, 0, mutated((0, [(at + 1, 4)])), [(at + 1, 4)])
