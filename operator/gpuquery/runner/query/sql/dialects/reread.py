"""Casts of text to other types in dialects that read less than DuckDB: what they do not read fails, or is NULL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import Call, Case, Cast, Expression, Literal
from gpuquery.runner.query.sql.types import BOOLEAN, NULL, TEXT, Kind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.dialects.semantics import Semantics


def read_as(node: Cast, semantics: Semantics) -> Expression:
    """Return a cast of text that reads what the dialect reads."""
    pattern = semantics.read(whole=node.type.is_integer, boolean=node.type.kind is Kind.BOOLEAN)
    text = node.input
    if not pattern or isinstance(text, Literal):  # constants are read where the text is rewritten
        return node
    written = Literal(type=TEXT, place=node.place, value=pattern)
    read = Call(type=BOOLEAN, place=node.place, function="regexp_matches", arguments=(text, written))
    refused: Expression = Literal(type=TEXT, place=node.place, value=None)
    if not node.null_on_failure:
        words = [Literal(type=TEXT, value="the value "), text, Literal(type=TEXT, value=f" is not a valid {node.type}")]
        said = Call(type=TEXT, place=node.place, function="concat", arguments=tuple(words))
        known = Call(type=BOOLEAN, place=node.place, function="is not null", arguments=(text,))
        said_of_values = Case(type=TEXT, place=node.place, branches=((known, said),), otherwise=refused)
        failure = Call(type=NULL, place=node.place, function="error", arguments=(said_of_values,))
        refused = Cast(type=TEXT, place=node.place, input=failure)
    return replace(node, input=Case(type=TEXT, place=node.place, branches=((read, text),), otherwise=refused))
