"""Types of columns: those that the author declares, and those that all values have."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.inputs.formats import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.api.spec import Input

_SHOWN = 10
_FRACTION = re.compile(r"-?\d+\.\d+")
TEXTS = "Int64, Float64, Decimal(12, 2), Boolean, Date, Datetime('us'), Time, String"


def declared(item: Input) -> dict[str, pl.DataType]:
    """Return the types that the author declares. Raises JobError for what is no type."""
    found = {}
    for name, text in item.types.items():
        try:
            dtype = dtypes.parse(text)
        except dtypes.UnknownTypeError as exc:
            raise _bad(item, name, text, str(exc)) from None
        found[name] = _whole(item, name, text, dtype)
    return found


def check_names(item: Input, columns: Sequence[str]) -> None:
    """Raise JobError for types of columns that are not there."""
    for name in item.types:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, _SHOWN) or list(columns)[:_SHOWN]
            shown = ", ".join(f'"{one}"' for one in near)
            raise JobError(
                Failure.INVALID_INPUT,
                f'input "{item.name}": types names the column "{name}", which is not there; there is {shown}: '
                "correct the name, or remove it from types",
            )


def check_texts(item: Input, types: Mapping[str, pl.DataType]) -> None:
    """Raise JobError for types that no text is a value of."""
    for name, dtype in types.items():
        if not texts.known(dtype):
            raise _bad(item, name, item.types[name], f"is no type that texts are read as: write one of {TEXTS}")


class Narrowing:
    """The types that the values of one column leave possible."""

    def __init__(self) -> None:
        """All are possible before the first value."""
        self._left: list[pl.DataType] = texts.candidates()
        self._seen = False

    def see(self, column: pl.Series) -> None:
        """Look at some values. What a type of few values implies for one of more is not looked at again."""
        if not self._left or column.null_count() == len(column):
            return
        some = column.filter(column.is_not_null() & (column != ""))
        if not len(some):
            return
        self._seen = True
        head = some.head(8)
        left: list[pl.DataType] = []
        for one in self._left:
            if any(texts.implies(some, narrow, one) for narrow in left) or (_all(head, one) and _all(some, one)):
                left.append(one)
        self._left = left

    @property
    def dtype(self) -> pl.DataType:
        """The type: text where no other is possible, or no value was seen."""
        return self._left[0] if self._left and self._seen else pl.String()


def misfit(column: pl.Series, dtype: pl.DataType) -> int | None:
    """Return the index of the first text that is no value of a declared type."""
    held = texts.readable(pl.col(column.name), dtype, declared=True)
    bad = column.to_frame().select((~held).arg_true().alias("at")).head(1)
    return int(bad.item()) if bad.height else None


def shown(values: Iterable[Any]) -> str:
    """Return a few names for a message."""
    return ", ".join(f'"{one}"' for one in values)


def _all(some: pl.Series, dtype: pl.DataType) -> bool:
    return bool(some.to_frame("x").select(texts.readable(pl.col("x"), dtype, declared=False).all()).item())


def _whole(item: Input, name: str, text: str, dtype: Any) -> pl.DataType:
    """Return a type with its arguments; refuses those that say too little."""
    if dtype == pl.Datetime and not isinstance(dtype, pl.DataType):
        return pl.Datetime("us")
    if dtype == pl.Decimal and (not isinstance(dtype, pl.Decimal) or dtype.precision is None):
        raise _bad(item, name, text, "says too little: write Decimal(12, 2), with digits in all and behind the point")
    if isinstance(dtype, pl.List):
        return pl.List(_whole(item, name, text, dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({one.name: _whole(item, name, text, one.dtype) for one in dtype.fields})
    if isinstance(dtype, pl.DataType):
        return dtype
    try:
        made = dtype()
    except TypeError:
        raise _bad(item, name, text, f"says too little: write one such as {dtypes.EXAMPLES}") from None
    assert isinstance(made, pl.DataType)
    return made


def _bad(item: Input, name: str, text: str, what: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": types: "{name}": {text!r} {what}')


def does_not_fit(where: str, name: str, value: str, dtype: pl.DataType, *, declared: bool) -> str:
    """Say that a value is none of the type of its column."""
    said = "is declared" if declared else "the sample of the files shows"
    way = "Float64, or String" if dtype.is_integer() and _FRACTION.fullmatch(value) else "String"
    return (
        f'{where}, column "{name}": "{value}" would not stay what it is as {dtype}, which {said}: write {way} for '
        f'"{name}" in inputs[].types, and CAST it in the query'
    )
