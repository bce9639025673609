"""What a row of the table of functions says, and how a call is checked against it.

A row is data: the reference page, the refusal of wrong arguments and the check of a target are made from it. Its
signatures say what the author may write, in words of types that `_CLASSES` lists. The type of the result is the plan's:
whoever bound the statement has found it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.functions import lacks
from gpuquery.runner.query.sql.types import FLOATS, INTEGERS, NUMBERS, TIMESTAMPS, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Value
    from gpuquery.runner.query.sql.plan import Call, Expression

_CLASSES: Mapping[str, frozenset[Kind]] = {
    "INTEGER": INTEGERS,
    "FLOAT": FLOATS,
    "DECIMAL": frozenset({Kind.DECIMAL}),
    "NUMBER": NUMBERS,
    "VARCHAR": frozenset({Kind.TEXT}),
    "BLOB": frozenset({Kind.BINARY}),
    "BOOLEAN": frozenset({Kind.BOOLEAN}),
    "DATE": frozenset({Kind.DATE}),
    "TIME": frozenset({Kind.TIME}),
    "TIMESTAMP": TIMESTAMPS,
    "INTERVAL": frozenset({Kind.INTERVAL}),
    "LIST": frozenset({Kind.LIST}),
    "STRUCT": frozenset({Kind.STRUCT}),
    "LAMBDA": frozenset({Kind.LAMBDA}),
    "ANY": frozenset(Kind) - {Kind.LAMBDA},
}
"""The words of signatures. `DATE|TIMESTAMP` is either; a `'` in front is a constant; `[...]` may be left out; `...` may
come again."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature."""

    kinds: frozenset[Kind]
    constant: bool
    optional: bool

    def takes(self, kind: Type) -> bool:
        """Whether an argument of this type can stand here. NULL can everywhere."""
        return kind.kind in self.kinds or kind.kind is Kind.NULL


@dataclass(frozen=True)
class Signature:
    """One way to call a function: `VARCHAR, 'INTEGER, [VARCHAR] -> VARCHAR`."""

    text: str
    parameters: tuple[Parameter, ...]
    repeats: bool

    @classmethod
    def of(cls, text: str) -> Signature:
        """Read a signature."""
        inputs = [word.strip() for word in text.partition("->")[0].split(",") if word.strip()]
        repeats = bool(inputs) and inputs[-1] == "..."
        return cls(text, tuple(map(_parameter, inputs[:-1] if repeats else inputs)), repeats)

    def expected(self, count: int) -> Iterator[Parameter]:
        """Return the parameter of each of so many arguments."""
        yield from self.parameters[:count]
        yield from self.parameters[-1:] * (count - len(self.parameters))

    def takes(self, types: Sequence[Type]) -> bool:
        """Whether arguments of these types fit."""
        least = sum(not parameter.optional for parameter in self.parameters)
        if len(types) < least or (len(types) > len(self.parameters) and not self.repeats):
            return False
        return all(p.takes(kind) for p, kind in zip(self.expected(len(types)), types, strict=True))


def _parameter(word: str) -> Parameter:
    optional = word.startswith("[")
    word = word.strip("[]")
    kinds = frozenset().union(*(_CLASSES[name] for name in word.removeprefix("'").split("|")))
    return Parameter(kinds, constant=word.startswith("'"), optional=optional)


@dataclass(frozen=True)
class FunctionCall:
    """A call of a function, with its arguments compiled."""

    node: Call
    values: tuple[Value, ...]
    target: Target

    @property
    def arguments(self) -> list[tuple[Expression, Value]]:
        """Each argument as the plan has it, and compiled."""
        return list(zip(self.node.arguments, self.values, strict=True))

    @property
    def exprs(self) -> list[pl.Expr]:
        """What Polars computes for each argument."""
        return [value.expr for value in self.values]

    @property
    def type(self) -> Type:
        """The type of the result."""
        return self.node.type

    @property
    def dtype(self) -> pl.DataType:
        """What the result has to be held in."""
        return dtype_of(self.node.type)

    @property
    def place(self) -> Place | None:
        """Where the call stands in the author's text."""
        return self.node.place

    def place_of(self, index: int) -> Place | None:
        """Return where an argument stands, or else the call."""
        return self.node.arguments[index].place or self.place

    def constant(self, index: int) -> Any:
        """Return the value of an argument that is a constant."""
        literal = self.values[index].literal
        if literal is None:
            message = f"argument {index + 1} of {self.node.function} must be a constant; here it depends on the row"
            raise SqlError(message, self.place_of(index))
        return literal.value

    def is_constant(self, index: int) -> bool:
        """Whether an argument is a constant."""
        return self.values[index].literal is not None

    def refuse(self, message: str, index: int | None = None) -> SqlError:
        """Return the refusal of this call, or of one of its arguments."""
        return SqlError(message, self.place if index is None else self.place_of(index))


def _releases(names: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(release for release, listed in names.items() if name in listed.split())


def null_unless_all_known(expr: pl.Expr, *needed: pl.Expr) -> pl.Expr:
    """Return NULL where a value that an expression needs is NULL: to Polars' slices NULL means no bound."""
    there = needed[0].is_not_null()
    for value in needed[1:]:
        there = there & value.is_not_null()
    return pl.when(there).then(expr)


@dataclass(frozen=True)
class Row:
    """A function: what people call it, what it takes, what it does, and what Polars computes for it."""

    name: str
    signatures: tuple[str, ...]
    summary: str
    build: Callable[[FunctionCall], pl.Expr | Value]
    aliases: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    """RAPIDS releases whose cudf-polars translates none of its calls, of those that were asked (`lacks`)."""
    partly: frozenset[str] = frozenset()
    """RAPIDS releases whose cudf-polars translates some of its calls and not others."""
    sees_null: bool = False
    """Whether it has an answer for NULL arguments. The others are NULL when one of their arguments is."""
    group: str = ""


def exact_quotient(number: pl.Expr, by: pl.Expr | float) -> pl.Expr:
    """Divide floating-point numbers. Polars 1.44 divides by one constant as it multiplies with its inverse."""
    return number / pl.when(number.is_not_null()).then(by)


class Table:
    """Rows of one group, made in the order in which the reference shows them."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.rows: list[Row] = []

    def add(
        self, name: str, *signatures: str, does: str, build: Callable[[FunctionCall], pl.Expr | Value], **more: Any
    ) -> None:
        """Add a function that is built from the whole call."""
        aliases = tuple(more.pop("aliases", "").split())
        more |= {"lacks": _releases(lacks.NONE, name), "partly": _releases(lacks.SOME, name)}
        self.rows.append(Row(name, signatures, does, build, aliases, group=self.group, **more))

    def add_expr(self, name: str, *signatures: str, does: str, build: Callable[..., pl.Expr], **more: Any) -> None:
        """Add a function that is built from what Polars computes for each argument."""
        self.add(name, *signatures, does=does, build=lambda call: build(*call.exprs), **more)
