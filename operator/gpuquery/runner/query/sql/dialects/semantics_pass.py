"""The last step of a translated statement: the author's places, and semantics that depend on types (`semantics`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.dialects.reread import read_as
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import AggregateCall, Call, Cast, Expression, Literal, Relation, Statement
from gpuquery.runner.query.sql.types import BIGINT, Kind, Type
from gpuquery.runner.query.sql.walk import rebuilt, transformed, with_expressions

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.dialects.semantics import Semantics
    from gpuquery.runner.query.sql.dialects.translation import Translation
    from gpuquery.runner.query.sql.errors import Place

_CASTS = ("CAST(", "TRY_CAST(")
_TEXTS_OF_ALL = frozenset({"concat", "concat_ws", "||", "array_to_string"})
"""Functions that write each argument as text."""


def with_dialect_semantics(statement: Statement, translation: Translation) -> tuple[Statement, dict[str, Place | None]]:
    """Return a statement as its author's, with the places of the author's text, and what its author should know.

    Raises SqlError for what means something else there, and has no counterpart.
    """
    if translation.marks is None:
        return statement, {}
    returning = _SemanticsPass(translation)

    def relation(node: Relation) -> Relation:
        return with_expressions(node, lambda value: transformed(value, returning.expression))

    return replace(statement, relation=rebuilt(statement.relation, relation)), returning.warnings


class _SemanticsPass:
    """What is done with each expression, the innermost first."""

    def __init__(self, translation: Translation) -> None:
        self.translation, self.semantics = translation, translation.semantics
        self.warnings: dict[str, Place | None] = {}
        self.written: set[tuple[Place | None, Type]] = set()
        """The casts that the author wrote, by their places; others have the place of what they are of."""

    def expression(self, node: Expression) -> Expression:
        place = self.translation.author_place(node.place)
        if isinstance(node, Cast) and node.place and self.translation.text.startswith(_CASTS, node.place.start):
            self.written.add((place, node.type))
        node = replace(node, place=place)
        if remark := self.remark(node):
            self.warnings.setdefault(remark, place)
        match node:
            case Cast():
                return _cast(node, self.semantics)
            case Call():
                return self.call(node)
            case _:
                return node

    def call(self, node: Call) -> Expression:
        semantics, kinds = self.semantics, [argument.type for argument in node.arguments]
        match node.function:
            case "/" if semantics.division_fails and node.type.is_float:
                return replace(node, function="//")  # which divides a DOUBLE, and fails for zero
            case "//" if semantics.doubles_divide and node.type.is_float and any(map(self.is_double, node.arguments)):
                return replace(node, function="/")
            case "-" if semantics.days_apart and len(kinds) == 2 and all(kind.kind is Kind.DATE for kind in kinds):
                raise SqlError(
                    f"{semantics.title}'s difference of two days is an INTERVAL, and a number here: write "
                    f"{semantics.days_apart}",
                    node.place,
                )
            case "round" if semantics.rounds_to_even and len(kinds) == 1 and node.type.is_float:
                zero = Literal(type=BIGINT, value=0)
                return replace(node, function="round_even", arguments=(node.arguments[0], zero))
            case function if function in _TEXTS_OF_ALL:
                for argument in node.arguments:
                    if argument.type.is_float or (argument.type.item and argument.type.item.is_float):
                        raise _unwritten(argument, semantics)
        return node

    def is_double(self, node: Expression) -> bool:
        """Whether a side of a division was a DOUBLE before it was brought to the type of the other side.

        Of a constant that is not known: it has been read as the other type already.
        """
        if isinstance(node, Cast):
            return node.input.type.is_float or (node.place, node.type) in self.written
        return node.type.is_float and not isinstance(node, Literal)

    def before(self, node: Expression) -> Type:
        """Return the type that a value had before it was brought to that of the other side."""
        if isinstance(node, Literal) and node.type.is_float:
            return BIGINT  # a decimal, or a whole number, that has been read as a DOUBLE
        return node.input.type if isinstance(node, Cast) and not self.is_double(node) else node.type

    def remark(self, node: Expression) -> str:
        """Return what is told of a quotient, or an average, of decimals: no value changes without a word."""
        semantics = self.semantics
        if not semantics.quotients:
            return ""
        match node:
            case Call(function="/" | "//", arguments=(left, right)) if node.type.is_float:
                kinds = {self.before(left).kind, self.before(right).kind}
                exact = not kinds & {Kind.FLOAT, Kind.DOUBLE}
                if exact and (Kind.DECIMAL in kinds or semantics.whole_quotients):
                    return (
                        f"a quotient of decimals is a DOUBLE here; {semantics.title} rounds it to {semantics.quotients}"
                    )
            case AggregateCall(function="avg", arguments=(value,)) if self.before(value).kind is Kind.DECIMAL:
                return f"an average of decimals is a DOUBLE here; {semantics.title} rounds it to a DECIMAL"
        return ""


def _cast(node: Cast, semantics: Semantics) -> Expression:
    """DuckDB's cast of a DOUBLE rounds halves to even numbers, and that of a DECIMAL away from zero.

    Spark cuts the fraction off, Trino, Snowflake and BigQuery round halves away from zero.
    """
    kind = node.input.type
    if node.type.kind is Kind.TEXT and kind.is_float:
        raise _unwritten(node, semantics)
    if kind.kind is Kind.TEXT:
        return read_as(node, semantics)
    function = semantics.float_to_integer
    if not function or not node.type.is_integer or not (kind.is_float or (kind.kind is Kind.DECIMAL and kind.scale)):
        return node
    if function == "round" and not kind.is_float:
        return node
    return replace(node, input=Call(type=kind, place=node.place, function=function, arguments=(node.input,)))


def _unwritten(node: Expression, semantics: Semantics) -> SqlError:
    """1.0 as text is `1`, `1.0` or `1.0E0`, and a quotient of decimals is no DOUBLE there at all."""
    return SqlError(
        f"a DOUBLE as text looks different in {semantics.title}: cast it to a DECIMAL first, with as many places as "
        "you want",
        node.place or (node.input.place if isinstance(node, Cast) else None),
    )
