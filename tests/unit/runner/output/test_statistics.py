"""Statistics of a file from its footer, against the rows as pyarrow reads them: bounds never lose a row."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.runner.output import statistics
from gpuquery.runner.output.record import LeafStatistics, StagedFile
from gpuquery.runner.parquet import footer
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAN = float("nan")


def polars(table: pa.Table, group: int) -> bytes:
    file = io.BytesIO()
    pl.from_arrow(table).lazy().sink_parquet(file, row_group_size=group)  # type: ignore[union-attr]
    return file.getvalue()


def arrow(table: pa.Table, group: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=group)
    return file.getvalue()


WRITERS: Sequence[Callable[[pa.Table, int], bytes]] = (polars, arrow)


def leaf(
    values: Sequence[Any], kind: pa.DataType, write: Callable[[pa.Table, int], bytes], group: int = 3
) -> LeafStatistics:
    (found,) = statistics.of(footer.metadata(write(pa.table({"c": pa.array(values, kind)}), group)), 10)
    assert found == LeafStatistics.model_validate_json(found.model_dump_json())
    return found


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("kind", "values", "least", "most"),
    [
        pytest.param(pa.int8(), [3, -128, None, 127], -128, 127, id="small integers"),
        pytest.param(pa.int64(), [-(2**63), 2**63 - 1], -(2**63), 2**63 - 1, id="the widest integers"),
        pytest.param(pa.uint64(), [1, 2**64 - 1], 1, 2**64 - 1, id="unsigned integers beyond the signed"),
        pytest.param(pa.uint8(), [1, 255], 1, 255, id="small unsigned integers"),
        pytest.param(pa.bool_(), [True, None, False], False, True, id="booleans"),
        pytest.param(pa.date32(), [date(1969, 12, 31), date(2026, 1, 1)], -1, 20454, id="days, also before 1970"),
        pytest.param(pa.timestamp("us", "UTC"), [datetime(1970, 1, 1, 0, 0, 1, 5, UTC)], 1_000_005, 1_000_005,
                     id="microseconds"),
        pytest.param(pa.timestamp("ns"), [-1, 5], -1, 5, id="nanoseconds"),
        pytest.param(pa.time64("ns"), [time(0, 0, 1)], 10**9, 10**9, id="times of day"),
        pytest.param(pa.decimal128(9, 2), [Decimal("-1.50"), Decimal("20.00")], "-1.50", "20.00", id="short decimals"),
        pytest.param(pa.decimal128(38, 10), [Decimal("-9999999999999999999999999999.9999999999"), Decimal("1E-10")],
                     "-9999999999999999999999999999.9999999999", "0.0000000001", id="the longest decimals"),
        pytest.param(pa.float64(), [1.5, -2.5, None], "-2.5", None, id="floats have no upper bound"),
        pytest.param(pa.float64(), [NAN, NAN], None, None, id="NaN alone has no bound"),
        pytest.param(pa.float64(), [0.0, 5.0], "-0.0", None, id="zero stands for minus zero too"),
        pytest.param(pa.float32(), [0.5, math.inf], "0.5", None, id="short floats"),
        pytest.param(pa.string(), ["", None, "ä"], "", "ä", id="texts, also an empty one"),
        pytest.param(pa.string(), ["a" * 70, "b" * 70], "a" * 64, "b" * 63 + "c", id="long texts are cut"),
        pytest.param(pa.string(), ["ä" * 40], "ä" * 32, "ä" * 31 + "å", id="at a character"),
        pytest.param(pa.string(), ["x" + "ä" * 40], "x" + "ä" * 31, "x" + "ä" * 30 + "å", id="never within one"),
        pytest.param(pa.string(), ["\U0010ffff" * 20], "\U0010ffff" * 16, None, id="the highest character"),
        pytest.param(pa.string(), ["\ud7ff" * 30], "\ud7ff" * 21, "\ud7ff" * 20 + "\ue000", id="surrogates are none"),
        pytest.param(pa.binary(), [b"\xff\x00", b"\x01"], "01", "ff00", id="binaries"),
        pytest.param(pa.binary(), [b"\xff" * 70], "ff" * 64, None, id="a long binary of the highest byte"),
        pytest.param(pa.binary(), [b"a" + b"\xff" * 70], "61" + "ff" * 63, "62", id="a long binary"),
        pytest.param(pa.string(), [None, None], None, None, id="nulls alone"),
    ],
)  # fmt: skip
def test_bounds_are_exact_and_typed(
    write: Callable[[pa.Table, int], bytes], kind: pa.DataType, values: list[Any], least: object, most: object
) -> None:
    found = leaf(values, kind, write)
    assert (found.least and found.least.value, found.most and found.most.value) == (least, most)
    assert type(found.least and found.least.value) is type(least)  # a boolean is no integer
    assert (found.values, found.nulls) == (len(values), sum(value is None for value in values))


@pytest.mark.parametrize(("write", "least"), [(polars, None), (arrow, "7.0")])  # pyarrow leaves NaN out of account
def test_a_column_with_nan_has_no_upper_bound_whatever_its_writer_tells(
    write: Callable[[pa.Table, int], bytes], least: str | None
) -> None:
    found = leaf([NAN, 7.0], pa.float64(), write)
    assert (found.least and found.least.value, found.most) == (least, None)


def holds(found: LeafStatistics, values: Sequence[Any]) -> bool:
    """Whether all values are within the bounds, in the column's order; and exact bounds among them."""

    def read(value: Any) -> Any:
        return bytes.fromhex(value) if found.kind == "binary" else Decimal(value) if found.kind == "decimal" else value

    def key(value: Any) -> Any:
        return value.encode() if isinstance(value, str) else value

    there = [key(value) for value in values if value is not None]
    least, most = (bound and (key(read(bound.value)), bound.exact) for bound in (found.least, found.most))
    return all(
        (not least or (least[0] <= value and (not least[1] or least[0] in there)))
        and (not most or (value <= most[0] and (not most[1] or most[0] in there)))
        for value in there
    )


@examples(150)
@given(data=st.data(), group=st.integers(1, 5), write=st.sampled_from(WRITERS))
def test_no_value_is_outside_of_the_bounds(
    data: st.DataObject, group: int, write: Callable[[pa.Table, int], bytes]
) -> None:
    kind, values = data.draw(
        st.sampled_from(
            [
                (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
                (pa.uint32(), st.integers(0, 2**32 - 1)),
                (pa.string(), st.text(st.characters(codec="utf-8"), max_size=90)),
                (pa.binary(), st.binary(max_size=90)),
                (pa.decimal128(20, 3), st.decimals(-(10**16), 10**16, places=3)),
            ]
        )
    )
    rows = data.draw(st.lists(st.none() | values, min_size=1, max_size=12))
    assert holds(leaf(rows, kind, write, group), rows)


def test_columns_of_lists_and_structs_are_told_by_their_paths() -> None:
    table = pa.table({"l": [[1, None], [], None], "s": [{"a": "x"}, {"a": None}, None], "i": [1, 2, 3]})
    found = {one.path: one for one in statistics.of(footer.metadata(polars(table, 9)), 10)}
    assert set(found) == {("l", "list", "element"), ("s", "a"), ("i",)}
    assert (found["i",].nulls, found["s", "a"].values, found["l", "list", "element"].values) == (0, 3, 4)


def test_only_so_many_columns_are_told_as_are_wanted() -> None:
    meta = footer.metadata(polars(pa.table({f"c{n}": [n] for n in range(9)}), 9))
    assert [one.path[0] for one in statistics.of(meta, 3)] == ["c0", "c1", "c2"]


def test_bytes_are_those_of_the_file() -> None:
    body = arrow(pa.table({"c": list(range(1000))}), 300)
    meta = pq.read_metadata(io.BytesIO(body))
    (found,) = statistics.of(footer.metadata(body), 1)
    assert found.bytes == sum(meta.row_group(n).column(0).total_compressed_size for n in range(meta.num_row_groups))


def test_a_file_without_statistics_stands_in_a_record_as_it_always_did() -> None:
    assert "statistics" not in StagedFile(path="p", upload_id="u", pieces=("1",), bytes=1, rows=1).model_dump_json()
