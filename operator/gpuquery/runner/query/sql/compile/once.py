"""Values that a formula uses several times, computed once.

Polars writes an expression out wherever it stands in another one before it looks for common parts: a chain of thirty
formulas that use their input three times would have 3^30 parts. On the CPU such an input becomes a field of a struct
that the formula refers to. cudf-polars cannot translate that; there the formula is written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target

_RESULT = "result"


def once(target: Target, formula: Callable[..., pl.Expr], *inputs: pl.Expr) -> pl.Expr:
    """Return the formula of the inputs. It must not refer to any other value: within it names mean its inputs."""
    return formula(*inputs) if all(_simple(expr) for expr in inputs) else once_per_row(target, formula, *inputs)


def once_per_row(target: Target, formula: Callable[..., pl.Expr], *inputs: pl.Expr) -> pl.Expr:
    """Return the same, with every input a value for each row, also where it is a constant. On GPUs they stay as is."""
    if target.gpu:
        return formula(*inputs)
    names = [f"input {i}" for i in range(len(inputs))]
    held = pl.struct(expr.alias(name) for expr, name in zip(inputs, names, strict=True))
    made = formula(*(pl.field(name) for name in names)).alias(_RESULT)
    return held.struct.with_fields(made).struct.field(_RESULT)


def _simple(expr: pl.Expr) -> bool:
    return expr.meta.is_column() or expr.meta.is_literal()
