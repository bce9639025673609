"""A dialect as data: what it calls things, and how DuckDB writes them; and the pass over a tree that uses it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import places, units
from gpuquery.runner.query.sql.dialects.generator import duckdb_sql
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.errors import Place, SqlError

if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Refused:
    """A function that has no counterpart; `way` is what to write in its place."""

    way: str


@dataclass(frozen=True)
class Aggregate:
    """An aggregate function whose FILTER, ORDER BY or OVER stand around it."""

    template: str
    skips_nulls: bool = False
    """Whether rows where the first argument is NULL do not count, which they do in DuckDB's."""
    outer: str = "{0}"
    """What is done with the finished aggregate, its OVER and FILTER included."""


@dataclass
class Call:
    """One call of a function of the dialect."""

    dialect: Dialect
    name: str
    arguments: list[exp.Expr]
    node: exp.Expr

    @property
    def place(self) -> Place | None:
        """Where it stands."""
        return places.place(self.node)

    def refuse(self, why: str) -> SqlError:
        """Return the error that refuses this call."""
        return SqlError(f"{self.dialect.title}'s {self.name}: {why}", self.place)

    def text(self, index: int, what: str) -> str:
        """Return an argument that has to be a text; raises SqlError."""
        argument = self.arguments[index] if index < len(self.arguments) else None
        if isinstance(argument, exp.Literal) and argument.is_string:
            return str(argument.this)
        raise self.refuse(f"{what} must be a quoted string here")

    def number(self, index: int) -> int | None:
        """Return an argument that is a whole number; None for any other expression."""
        argument = self.arguments[index] if index < len(self.arguments) else None
        sign = 1
        if isinstance(argument, exp.Neg):
            sign, argument = -1, argument.this
        if isinstance(argument, exp.Literal) and not argument.is_string and str(argument.this).isdigit():
            return sign * int(argument.this)
        return None

    def unit(self, index: int) -> str:
        """Return an argument that names a part of time, as `month`; raises SqlError."""
        argument = self.arguments[index] if index < len(self.arguments) else None
        found = units.named(argument)
        if found is None:
            raise self.refuse(
                f"{units.shown(argument)} is not a part of a date or time that is supported here ({units.KNOWN})"
            )
        return found

    def count(self, *numbers: int) -> None:
        """Refuse another number of arguments."""
        if len(self.arguments) not in numbers:
            known = " or ".join(map(str, numbers))
            raise self.refuse(f"it has {len(self.arguments)} arguments; {known} are supported here")


Rule = str | Mapping[int, str | Callable[[Call], exp.Expr]] | Refused | Aggregate | Callable[[Call], exp.Expr]
"""How DuckDB writes a function: a text with `{0}`, `{1}`, ... for the arguments or `{*}` for all of them, one for each
number of arguments, an aggregate, a function that makes it, or why it is refused."""
Nodes = Mapping[type[exp.Expr], Callable[["Dialect", "Any"], exp.Expr]]


@dataclass(frozen=True)
class Dialect:
    """What is known of one dialect."""

    name: str
    """As sqlglot calls it."""
    title: str
    """As people call it."""
    functions: Mapping[str, Rule]
    nodes: Nodes = field(default_factory=dict)
    """What is done with parts of a statement that are no functions."""
    known: frozenset[type[exp.Expr]] = frozenset()
    """Classes of parts that are good as they are."""
    integer_division: bool = False
    """Whether `/` of whole numbers is a whole number."""
    like_escape: str = ""
    """The character that takes the meaning of `%` and `_` in LIKE where no ESCAPE says one."""
    semantics: Semantics = field(default_factory=Semantics)
    macros: tuple[str, ...] = ()
    """Functions that depend on the types of their arguments, as DuckDB's CREATE MACRO."""


def same(*names: str) -> dict[str, Rule]:
    """Return rules for functions that DuckDB has under the same name with the same meaning."""
    return {name: name + "({*})" for name in names}


def rewrite(tree: exp.Expr, dialect: Dialect, text: str) -> exp.Expr:
    """Return the tree as DuckDB's; raises SqlError for what is not known."""
    root = exp.Tuple(expressions=[tree])  # so that every node of the statement has a parent
    for node in reversed(list(tree.walk())):
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
            _function(node, dialect)
            continue
        rule = dialect.nodes.get(type(node))
        if rule is not None:
            _put(node, rule(dialect, node))
        elif type(node) not in dialect.known:
            span = places.place(node)
            what = " ".join(text[span.start : span.end].split())[:60] if span else node.key.upper()
            raise SqlError(f"this part of {dialect.title} is not translated: write it in another way: {what}", span)
    found = root.expressions[0]
    assert isinstance(found, exp.Expr)
    found.pop()
    return found


def _put(node: exp.Expr, made: exp.Expr) -> None:
    if made is not node:
        if places.SPAN in node.meta:
            made.meta.setdefault(places.SPAN, node.meta[places.SPAN])
        node.replace(made)


def _function(node: exp.Expr, dialect: Dialect) -> None:
    name = str(node.this.name if isinstance(node.this, exp.Expr) else node.this).lower()
    call = Call(dialect, name, _arguments(name, node), node)
    if isinstance(node.parent, exp.Dot) and node.parent.expression is node:
        raise SqlError(f'"{name}" follows a dot: functions in a schema are not supported', call.place)
    rule = dialect.functions.get(name)
    match rule:
        case None:
            near = difflib.get_close_matches(name, dialect.functions, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise SqlError(f'{dialect.title}\'s function "{name}" is not supported{hint}', call.place)
        case Refused(way=way):
            raise call.refuse(way)
        case Aggregate():
            _aggregate(call, rule)
        case str():
            _put(node, duckdb_sql(_checked(call, rule), call.arguments))
        case Mapping():
            call.count(*rule)
            one = rule[len(call.arguments)]
            _put(node, duckdb_sql(one, call.arguments) if isinstance(one, str) else one(call))
        case _:
            _put(node, rule(call))


def _arguments(name: str, node: exp.Expr) -> list[exp.Expr]:
    """Return the arguments of a call. DISTINCT stands before the first; sqlglot takes it as said of all of them."""
    found: list[exp.Expr] = list(node.expressions)
    order = found[0] if found and isinstance(found[0], exp.Order) else None
    distinct = order.this if order is not None else found[0] if found else None
    if name == "count" or not isinstance(distinct, exp.Distinct) or len(distinct.expressions) < 2:
        return found
    first, *rest = distinct.expressions
    distinct.set("expressions", [first])
    if order is not None:
        last = rest.pop()
        return [distinct, *rest, exp.Order(this=last, expressions=order.expressions)]
    return [distinct, *rest, *found[1:]]


def _checked(call: Call, template: str) -> str:
    if "{*}" not in template:
        call.count(max((int(n) for n in _numbers(template)), default=-1) + 1)
    return template


def _numbers(template: str) -> list[str]:
    return [part.split("}")[0] for part in template.split("{")[1:] if part.split("}")[0].isdigit()]


def _aggregate(call: Call, rule: Aggregate) -> None:
    inner = duckdb_sql(rule.template, call.arguments)
    node = call.node
    first = call.arguments[0].copy() if call.arguments else None
    _put(node, inner)
    if rule.skips_nulls and first is not None:
        _only_where(inner, exp.Not(this=exp.Is(this=_value(first), expression=exp.Null())))
    if rule.outer != "{0}":
        whole = outermost(inner)
        span = whole.meta.get(places.SPAN)
        made = duckdb_sql(rule.outer)
        whole.replace(made)
        made.append("expressions", whole)
        if span:
            made.meta[places.SPAN] = span


def _value(argument: exp.Expr) -> exp.Expr:
    """Return the value of an argument without its DISTINCT, ORDER BY or LIMIT."""
    while isinstance(argument, exp.Order | exp.Limit | exp.Distinct):
        argument = argument.expressions[0] if isinstance(argument, exp.Distinct) else argument.this
    return argument if isinstance(argument, exp.Column | exp.Literal) else exp.Paren(this=argument)


def _only_where(inner: exp.Expr, condition: exp.Expr) -> None:
    """Add a condition to the FILTER of an aggregate, or give it one."""
    parent = inner.parent
    if isinstance(parent, exp.Filter):
        where = parent.expression
        where.set("this", exp.And(this=exp.Paren(this=where.this), expression=condition))
        return
    made = exp.Filter(this=None, expression=exp.Where(this=condition))
    if places.SPAN in inner.meta:
        made.meta[places.SPAN] = inner.meta[places.SPAN]
    inner.replace(made)
    made.set("this", inner)


def outermost(inner: exp.Expr) -> exp.Expr:
    """Return an aggregate with the FILTER, WITHIN GROUP, IGNORE NULLS and OVER around it."""
    around = (exp.Filter, exp.Window, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)
    while isinstance(inner.parent, around) and inner.parent.this is inner:
        inner = inner.parent
    return inner


__all__ = ["Aggregate", "Call", "Dialect", "Refused", "Rule", "duckdb_sql", "outermost", "rewrite", "same"]
