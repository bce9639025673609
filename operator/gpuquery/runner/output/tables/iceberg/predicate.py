"""`overwriteWhere`: which rows of a table a result replaces.

A file goes if all of its rows meet the condition, and stays if none does, by its partition or by its bounds. Where
these do not tell, its rows do (rewriting.py). Each row of the result must meet the condition, or it would stay for ever
when the job runs again.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import polars as pl
from pyiceberg.expressions import And, LiteralPredicate, NotNull, Or, SetPredicate, parser, visitors
from pyiceberg.types import DoubleType, FloatType

from gpuquery.api.text import clean
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.inputs.tables.iceberg import types
from gpuquery.runner.output.tables.iceberg.schemas import UnfitError

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile


_TYPED = re.compile(r"('(?:[^']|'')*')|\b(?:DATE|TIMESTAMPTZ|TIMESTAMP)\s+(?=')", re.IGNORECASE)
"""Texts, and the words before one that say its type, which the column says already."""


class Fate(Enum):
    """What a condition does to a file, by what the table's metadata says of it."""

    GOES = "all of its rows meet it"
    STAYS = "none of its rows meets it"
    IN_PART = "there may be rows that meet it and rows that do not"


class Predicate:
    """A condition over the columns of a table."""

    def __init__(self, text: str, schema: Any) -> None:
        """`schema` is pyiceberg's. Raises UnfitError."""
        self.text = clean(" ".join(text.split()), 200)
        try:
            parsed = parser.parse(_TYPED.sub(lambda found: found[1] or "", text))
            self._unbound = _as_in_sql(visitors.rewrite_not(parsed))
            self._bound = visitors.bind(schema, self._unbound, case_sensitive=True)
        except Exception as exc:
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise UnfitError(
                f"output.overwriteWhere is {self.text!r}, which is no condition over the table's columns: {reason}; "
                "write comparisons, IN, IS NULL and LIKE 'a%' of columns with constants, joined by AND, OR, NOT"
            ) from None
        tops = {one.field_id for one in schema.fields}
        for number in visitors.extract_field_ids(self._bound):
            if number not in tops:
                raise UnfitError(
                    f"output.overwriteWhere is {self.text!r}: {schema.find_column_name(number)} is a part of a column, "
                    "and only whole columns are compared"
                )
            if isinstance(schema.find_type(number), FloatType | DoubleType):
                raise UnfitError(
                    f"output.overwriteWhere is {self.text!r}: {schema.find_column_name(number)} is a floating point "
                    "number, and files do not tell whether they hold NaN: use another column"
                )
        self._schema = schema
        self._inside = visitors._StrictMetricsEvaluator(schema, self._unbound)
        self._touching = visitors._InclusiveMetricsEvaluator(schema, self._unbound)
        self._by_spec: dict[int, tuple[Any, Any]] = {}

    def fate(self, file: DataFile, spec: Any) -> Fate:
        """Say what becomes of a file of a partition spec."""
        inside, touching = self._projected(spec)
        if self._inside.eval(file) or inside(file.partition):
            return Fate.GOES
        if not self._touching.eval(file) or not touching(file.partition):
            return Fate.STAYS
        return Fate.IN_PART

    def expression(self) -> pl.Expr:
        """Return the condition for rows in Polars, with the table's types."""
        return visitors.visit(self._bound, _Rows())

    def _projected(self, spec: Any) -> tuple[Any, Any]:
        if spec.spec_id not in self._by_spec:
            self._by_spec[spec.spec_id] = (
                self._over_partitions(spec, visitors.strict_projection(self._schema, spec)),
                self._over_partitions(spec, visitors.inclusive_projection(self._schema, spec)),
            )
        return self._by_spec[spec.spec_id]

    def _over_partitions(self, spec: Any, project: Any) -> Any:
        from pyiceberg.schema import Schema

        schema = Schema(*spec.partition_type(self._schema).fields)
        return visitors.expression_evaluator(schema, project(self._unbound), case_sensitive=True)


def _as_in_sql(expression: BooleanExpression) -> BooleanExpression:
    """Let no comparison hold for nulls: in Iceberg `a != 1` and `a NOT IN (1, 2)` do, and files may not count nulls.

    `expression` has no Not any more.
    """
    match expression:
        case And() | Or():
            return type(expression)(_as_in_sql(expression.left), _as_in_sql(expression.right))
        case LiteralPredicate() | SetPredicate():
            return And(NotNull(term=expression.term), expression)
    return expression


class _Rows(visitors.BoundBooleanExpressionVisitor[pl.Expr]):
    """Writes a bound condition for Polars; a null meets none but IS NULL."""

    def visit_true(self) -> pl.Expr:
        return pl.lit(value=True)

    def visit_false(self) -> pl.Expr:
        return pl.lit(value=False)

    def visit_not(self, child_result: pl.Expr) -> pl.Expr:
        return ~child_result

    def visit_and(self, left_result: pl.Expr, right_result: pl.Expr) -> pl.Expr:
        return left_result & right_result

    def visit_or(self, left_result: pl.Expr, right_result: pl.Expr) -> pl.Expr:
        return left_result | right_result

    def visit_is_nan(self, term: Any) -> pl.Expr:
        return _column(term).is_nan()

    def visit_not_nan(self, term: Any) -> pl.Expr:
        return _column(term).is_not_nan()

    def visit_is_null(self, term: Any) -> pl.Expr:
        return _column(term).is_null()

    def visit_not_null(self, term: Any) -> pl.Expr:
        return _column(term).is_not_null()

    def visit_equal(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) == _literal(term, literal)

    def visit_not_equal(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) != _literal(term, literal)

    def visit_greater_than_or_equal(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) >= _literal(term, literal)

    def visit_greater_than(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) > _literal(term, literal)

    def visit_less_than(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) < _literal(term, literal)

    def visit_less_than_or_equal(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term) <= _literal(term, literal)

    def visit_in(self, term: Any, literals: Any) -> pl.Expr:
        return pl.any_horizontal([_column(term) == _literal(term, one) for one in literals])

    def visit_not_in(self, term: Any, literals: Any) -> pl.Expr:
        return pl.all_horizontal([_column(term) != _literal(term, one) for one in literals])

    def visit_starts_with(self, term: Any, literal: Any) -> pl.Expr:
        return _column(term).str.starts_with(_value(literal))

    def visit_not_starts_with(self, term: Any, literal: Any) -> pl.Expr:
        return ~_column(term).str.starts_with(_value(literal))


def _column(term: Any) -> pl.Expr:
    field = term.ref().field
    return dtypes.column(field.name).cast(types.dtype_of(str(field.field_type)))


def _value(literal: Any) -> Any:
    return literal.value if hasattr(literal, "value") else literal


def _literal(term: Any, literal: Any) -> pl.Expr:
    """A constant with the column's type: times are counts since 1970."""
    value = _value(literal)
    dtype = types.dtype_of(str(term.ref().field.field_type))
    match dtype:
        case pl.Date():
            return pl.lit(value, dtype=pl.Int32).cast(pl.Date)
        case pl.Datetime():
            return pl.lit(value, dtype=pl.Int64).cast(dtype)
        case pl.Decimal():
            return pl.lit(Decimal(value), dtype=dtype)
    return pl.lit(value, dtype=dtype)
