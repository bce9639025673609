"""Whether an expression may fail for some row, by its types."""

from __future__ import annotations

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.compare import COMPARISONS
from gpuquery.runner.query.sql.compile.decimal import DIGITS, integer_digits, result_digits
from gpuquery.runner.query.sql.compile.scope import parts
from gpuquery.runner.query.sql.types import TIMESTAMPS, Kind, Type

_SAFE = frozenset(
    {
        *("and", "or", "not", "is null", "is not null", "in", "||", "coalesce", *COMPARISONS),
        *("like", "ilike", "lower", "upper", "length", "substring", "trim", "ltrim", "rtrim", "starts_with", "concat"),
        *("ends_with", "contains", "year", "month", "day", "quarter", "hour", "minute", "second", "abs", "date_trunc"),
    }
)
RISKY = frozenset({"//", "%", "error"})


def may_fail(node: plan.Expression) -> bool:
    """Return whether the value of some row may be a failure."""
    return any(map(_fails, parts(node)))


def is_risky(node: plan.Expression) -> bool:
    """Return whether a failure of some row is likely, as a division by zero is, or text that is no number."""
    return reads_text(node) or any(isinstance(part, plan.Call) and part.function in RISKY for part in parts(node))


def reads_text(node: plan.Expression) -> bool:
    """Return whether a cast within reads text, and fails where it cannot."""
    return any(
        isinstance(part, plan.Cast) and part.input.type.kind is Kind.TEXT and _fails(part) for part in parts(node)
    )


def _fails(node: plan.Expression) -> bool:
    match node:
        case plan.Cast():
            return not (node.null_on_failure or _widens(node.input.type, node.type))
        case plan.Call(function="+" | "-" | "*" | "/" as name, arguments=(left, right)):
            return not (node.type.is_float or _fits(name, left.type, right.type, node.type))
        case plan.Call():
            return node.function not in _SAFE
        case _:
            return False


def _widens(source: Type, to: Type) -> bool:
    """Return whether every value of a type has a counterpart in another one."""
    if source == to or Kind.NULL in (source.kind, to.kind):
        return True
    match source.kind, to.kind:
        case _, Kind.TEXT:
            return True
        case Kind.TEXT, _:
            return False
        case (Kind.BOOLEAN, _) | (_, Kind.BOOLEAN):
            return True
        case Kind.DOUBLE, Kind.FLOAT:
            return False
    if to.is_float and source.is_number:
        return True
    if source.is_integer and to.is_integer and source.range and to.range:
        return to.range[0] <= source.range[0] and source.range[1] <= to.range[1]
    if to.kind is Kind.DECIMAL and (source.is_integer or source.kind is Kind.DECIMAL):
        return integer_digits(source) + (to.scale < source.scale) <= integer_digits(to)
    return {source.kind, to.kind} <= TIMESTAMPS | {Kind.DATE, Kind.TIME} and to.unit != "ns"


def _fits(name: str, left: Type, right: Type, kind: Type) -> bool:
    """Return whether no sum or product of decimals has more digits than are held."""
    if kind.kind is not Kind.DECIMAL:
        return False
    return result_digits(name, left, right) + kind.scale <= DIGITS
