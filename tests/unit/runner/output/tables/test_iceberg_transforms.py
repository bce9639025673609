"""Partition values are those that pyiceberg computes, and those of the specification."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg import types as ice
from pyiceberg.transforms import parse_transform

from gpuquery.runner.output.tables.iceberg.transforms import KEY, Part, TransformError, check, keys, texts, value

INTS = st.integers(-(2**31) + 9, 2**31 - 1)
"""Without the least ones: Java wraps those around when it truncates them, as we do, and pyiceberg does not."""
LONGS = st.integers(-(2**63) + 9, 2**63 - 1)
NAIVE = st.datetimes(datetime(1, 1, 2), datetime(9998, 1, 1))
TYPES = {
    "boolean": (pl.Boolean, ice.BooleanType(), st.booleans()),
    "int": (pl.Int32, ice.IntegerType(), INTS),
    "long": (pl.Int64, ice.LongType(), LONGS),
    "date": (pl.Date, ice.DateType(), st.dates()),
    "time": (pl.Time, ice.TimeType(), st.times()),
    "timestamp": (pl.Datetime("us"), ice.TimestampType(), NAIVE),
    "timestamptz": (pl.Datetime("us", "UTC"), ice.TimestamptzType(), NAIVE.map(lambda at: at.replace(tzinfo=UTC))),
    "string": (pl.String, ice.StringType(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)),
    "binary": (pl.Binary, ice.BinaryType(), st.binary(max_size=12)),
    "uuid": (pl.Binary, ice.UUIDType(), st.uuids().map(lambda one: one.bytes)),
    "fixed[3]": (pl.Binary, ice.FixedType(3), st.binary(min_size=3, max_size=3)),
    "decimal(9, 2)": (
        pl.Decimal(9, 2), ice.DecimalType(9, 2), st.decimals(-(10**6), 10**6, allow_nan=False, places=2),
    ),
    "decimal(38, 10)": (
        pl.Decimal(38, 10), ice.DecimalType(38, 10), st.integers(-(10**36), 10**36).map(
            lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -10))
        ),
    ),
}  # fmt: skip
EXACT = [name for name in TYPES if name != "boolean"]
WHICH = [
    *(("identity", name) for name in TYPES),
    *((f"bucket[{n}]", name) for name in EXACT for n in (16, 2**31 - 1)),
    *(
        (f"truncate[{n}]", name)
        for name in ("int", "long", "string", "binary", "decimal(9, 2)", "decimal(38, 10)")
        for n in (1, 3, 10)
    ),
    *((unit, name) for unit in ("year", "month", "day") for name in ("date", "timestamp", "timestamptz")),
    ("hour", "timestamp"), ("hour", "timestamptz"), ("void", "string"),
]  # fmt: skip


def made(transform, kind, values):
    """The values in a manifest, from those of a column."""
    part = Part("p", ("x",), transform, kind)
    frame = pl.DataFrame({"x": pl.Series(values, dtype=TYPES[kind][0])})
    found = frame.lazy().select(keys([part])).collect(engine="streaming")
    return [value(*texts(row), part.result) for row in found.rows()]


def counted(one):
    """A value as the metadata of Iceberg counts it."""
    match one:
        case datetime():
            return (one.replace(tzinfo=None) - datetime(1970, 1, 1)) // (datetime.resolution)
        case date():
            return (one - date(1970, 1, 1)).days
        case time():
            return ((one.hour * 60 + one.minute) * 60 + one.second) * 1_000_000 + one.microsecond
    return one


@pytest.mark.parametrize(("transform", "kind"), [pytest.param(*row, id=f"{row[0]} of {row[1]}") for row in WHICH])
@settings(max_examples=20)  # a list has many values, and most of the time goes into an example
@given(data=st.data())
def test_partition_values_are_those_of_pyiceberg(transform, kind, data):
    _, source, strategy = TYPES[kind]
    values = data.draw(st.lists(st.none() | strategy, min_size=1, max_size=40))
    theirs = parse_transform(transform).transform(source)
    want = [None if v is None else theirs(counted(v)) for v in values]
    assert made(transform, kind, values) == want


SPECIFIED = [
    ("int", 34, 2017239379),
    ("long", 34, 2017239379),
    ("decimal(9, 2)", Decimal("14.20"), -500754589),
    ("date", date(2017, 11, 16), -653330422),
    ("time", time(22, 31, 8), -662762989),
    ("timestamp", datetime(2017, 11, 16, 22, 31, 8), -2047944441),
    ("timestamp", datetime(2017, 11, 16, 22, 31, 8, 1), -1207196810),
    ("timestamptz", datetime(2017, 11, 16, 22, 31, 8, tzinfo=UTC), -2047944441),
    ("string", "iceberg", 1210000089),
    ("uuid", uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7").bytes, 1488055340),
    ("binary", b"\x00\x01\x02\x03", -188683207),
]
"""https://iceberg.apache.org/spec/#appendix-b-32-bit-hash-requirements"""


@pytest.mark.parametrize(("kind", "one", "hashed"), SPECIFIED)
def test_hashes_are_those_of_the_specification(kind, one, hashed):
    count = 2**31 - 1
    assert made(f"bucket[{count}]", kind, [one]) == [(hashed & 0x7FFFFFFF) % count]


@pytest.mark.parametrize("number", [-32768, -129, -128, -1, 0, 127, 128, 32767, 32768])
def test_decimals_are_hashed_in_as_few_bytes_as_hold_them(number):
    """As Java's BigInteger.toByteArray has them, by which the specification was made."""
    import mmh3

    short = next(n for n in range(1, 9) if -(1 << 8 * n - 1) <= number < 1 << 8 * n - 1)
    want = (mmh3.hash(number.to_bytes(short, "big", signed=True)) & 0x7FFFFFFF) % 1000
    assert made("bucket[1000]", "decimal(9, 2)", [Decimal(number).scaleb(-2)]) == [want]


@pytest.mark.parametrize(
    ("transform", "kind", "says"),
    [
        ("identity", "double", r"identity\(x\) does not go with the type double"),
        ("bucket[4]", "boolean", "does not go"),
        ("hour", "date", "does not go"),
        ("truncate[2]", "fixed[3]", "does not go"),
        ("zorder", "long", "the transform zorder is not known"),
        ("bucket[0]", "long", "not known"),
        ("bucket", "long", "not known"),
        ("day[3]", "date", "not known"),
    ],
)
def test_what_is_not_specified_is_refused(transform, kind, says):
    with pytest.raises(TransformError, match=says):
        check(Part("p", ("x",), transform, kind))


def test_a_field_of_a_struct_can_part_rows():
    frame = pl.LazyFrame({"a": [{"b": {"c": 3}}, {"b": {"c": 25}}]})
    found = frame.select(keys([Part("p", ("a", "b", "c"), "truncate[10]", "long")])).collect()
    assert found.to_dict(as_series=False) == {f"{KEY}0": [0, 20]}
