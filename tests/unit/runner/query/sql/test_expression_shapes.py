"""Expressions of all sizes are compiled without a limit of Python's, and grow with their text alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.expression import condition, expression
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.compile.values import columns, dtype_of, type_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    INTEGER,
    TEXT,
    TIMESTAMP,
    Kind,
    Type,
    decimal,
    list_of,
    struct,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[plan.Expression, int], plan.Expression]

NAMES, TYPES = ["a", "b"], [BIGINT, BIGINT]
A, B = (plan.Column(type=BIGINT, index=i) for i in range(2))
GPU = Target(release="26.10")


def _frame() -> pl.LazyFrame:
    return pl.LazyFrame({"a": [7, -7, None], "b": [2, 3, 4]})


def _number(value: int) -> plan.Literal:
    return plan.Literal(type=BIGINT, value=value)


def _call(name: str, *arguments: plan.Expression, kind: Type = BIGINT) -> plan.Call:
    return plan.Call(type=kind, function=name, arguments=arguments)


def _chain(
    count: int, step: Callable[[plan.Expression, int], plan.Expression], start: plan.Expression
) -> plan.Expression:
    made = start
    for i in range(count):
        made = step(made, i)
    return made


def _is(i: int) -> plan.Call:
    return _call("=", A, _number(i), kind=BOOLEAN)


def _values(node: plan.Expression, target: Target = CPU) -> list[object]:
    value = expression(node, columns(NAMES, TYPES), target)
    return _frame().select(r=value.expr).collect(engine="streaming")["r"].to_list()


@pytest.mark.parametrize(
    ("node", "want"),
    [
        pytest.param(
            _chain(1000, lambda made, i: _call("or", made, _is(i), kind=BOOLEAN), _is(-1)),
            [True, False, None],
            id="a thousand ORs, one within the other",
        ),
        pytest.param(
            _call("or", *map(_is, range(1000)), kind=BOOLEAN), [True, False, None], id="a thousand ORs side by side"
        ),
        pytest.param(
            _call("greatest", *(_call("+", A, _number(i)) for i in range(60))),
            [66, 52, None],
            id="the greatest of sixty sums",
        ),
        pytest.param(_chain(100, lambda made, _: _call("+", made, A), A), [707, -707, None], id="a hundred sums"),
        pytest.param(
            _chain(12, lambda made, _: _call("%", _call("//", made, _number(1)), _number(1000)), A),
            [7, -7, None],
            id="quotients of remainders",
        ),
        pytest.param(
            _chain(
                12,
                lambda made, i: plan.Case(
                    type=BIGINT,
                    branches=((_call("=", B, _number(i), kind=BOOLEAN), _call("//", A, _call("-", B, _number(1)))),),
                    otherwise=made,
                ),
                A,
            ),
            [7, -3, None],
            id="a CASE within a CASE",
        ),
    ],
)
def test_an_expression_grows_no_faster_than_its_text(node: plan.Expression, want: list[object]) -> None:
    began = time.monotonic()
    assert _values(node) == want
    assert time.monotonic() - began < 20


def test_a_sum_on_gpus_is_checked_once() -> None:
    node = _chain(60, lambda made, _: _call("+", made, A), A)
    began = time.monotonic()
    assert _values(node, GPU) == [427, -427, None]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("target", [CPU, GPU])
def test_a_condition_is_boolean(target: Target) -> None:
    (a,) = columns(["a"], [BIGINT])
    kept = _frame().filter(condition(A, [a], target)).collect()
    assert kept["a"].to_list() == [7, -7]


@pytest.mark.parametrize(
    ("dtype", "want"),
    [
        (pl.Int8(), Type(Kind.INT8)),
        (pl.UInt64(), Type(Kind.UINT64)),
        (pl.Float32(), Type(Kind.FLOAT)),
        (pl.Boolean(), BOOLEAN),
        (pl.String(), TEXT),
        (pl.Categorical(), TEXT),
        (pl.Enum(["a"]), TEXT),
        (pl.Binary(), Type(Kind.BINARY)),
        (pl.Decimal(15, 2), decimal(15, 2)),
        (pl.Date(), DATE),
        (pl.Time(), Type(Kind.TIME)),
        (pl.Datetime("us"), TIMESTAMP),
        (pl.Datetime("ns"), Type(Kind.TIMESTAMP, unit="ns")),
        (pl.Datetime("ms", "Europe/Berlin"), Type(Kind.TIMESTAMP_TZ)),
        (pl.Duration("ms"), Type(Kind.INTERVAL)),
        (pl.List(pl.Int32), list_of(INTEGER)),
        (pl.Array(pl.Int32, 3), list_of(INTEGER)),
        (pl.Struct({"x": pl.Int32, "y": pl.List(pl.String)}), struct(("x", INTEGER), ("y", list_of(TEXT)))),
    ],
)
def test_types_of_inputs(dtype: pl.DataType, want: Type) -> None:
    assert type_of(dtype) == want
    assert type_of(dtype_of(want)).kind is want.kind


@pytest.mark.parametrize("dtype", [pl.Object(), pl.Int128(), pl.List(pl.Object)])
def test_a_type_without_a_counterpart_is_refused_by_name(dtype: pl.DataType) -> None:
    with pytest.raises(SqlError, match=r"SQL has no type for (Object|Int128) values"):
        type_of(dtype)
