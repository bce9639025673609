"""Fitting: whether a file that an engine has written holds the planned columns, and how to read it as if it did.

An engine's writer does not know all types of Polars. libcudf marks every timestamp as UTC (`utc_timestamps`, which
cudf-polars leaves at its default, true), and stores no Arrow schema, so that categories come back as texts and
durations as integers. What differs in such a way is read back as planned; what differs otherwise is a defect that must
not reach the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_SHOWN = 5


def expressions(
    file: str, have: Mapping[str, pl.DataType], want: Mapping[str, pl.DataType], order: Sequence[str]
) -> list[pl.Expr] | None:
    """Return what to select from the file to get columns `order` of types `want`; None if it is so already.

    Raises JobError(InternalError) that names the file and its columns where that cannot be.
    """
    if list(have.items()) == [(name, want[name]) for name in order]:
        return None
    found = {name: _read(dtypes.column(name), have[name], want[name]) for name in order if name in have}
    wrong = [
        f"{name} is {have.get(name, 'missing')} in place of {want.get(name, 'nothing')}"
        for name in dict.fromkeys([*order, *have])
        if name not in want or found.get(name) is None
    ]
    if wrong:
        more = f" and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
        raise JobError(
            Failure.INTERNAL_ERROR,
            f"the engine wrote {file} with other columns than planned: {'; '.join(wrong[:MAX_SHOWN])}{more}",
        )
    return [expression for expression in found.values() if expression is not None]


def _read(column: pl.Expr, have: pl.DataType, want: pl.DataType) -> pl.Expr | None:
    if have == want:
        return column
    if isinstance(have, pl.Datetime) and isinstance(want, pl.Datetime):
        # The numbers are the same instants, whatever zone the writer has put beside them.
        return column.dt.cast_time_unit(want.time_unit).to_physical().cast(want)
    return column.cast(want) if _stands_for(have, want) else None


def _stands_for(have: pl.DataType, want: pl.DataType) -> bool:
    """Whether a writer without the type `want` stores it as `have`, so that a cast gives it back."""
    match have, want:
        case pl.String(), pl.Categorical() | pl.Enum():
            return True
        case pl.Int64(), pl.Duration() | pl.Time():
            return True
        case pl.Duration(), pl.Duration():
            return True
        case pl.Decimal(), pl.Decimal():
            return have.scale == want.scale
        case pl.List(), pl.List():
            return have == want or _inner(have.inner, want.inner)
        case pl.Struct(), pl.Struct():
            names = [field.name for field in have.fields] == [field.name for field in want.fields]
            pairs = zip(have.fields, want.fields, strict=False)
            return names and all(_inner(mine.dtype, theirs.dtype) for mine, theirs in pairs)
    return isinstance(want, pl.Null) or isinstance(have, pl.Null)


def _inner(have: object, want: object) -> bool:
    return have == want or (isinstance(have, pl.DataType) and isinstance(want, pl.DataType) and _stands_for(have, want))
