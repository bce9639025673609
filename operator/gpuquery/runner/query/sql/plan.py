"""The relational plan: what a statement means, with every name resolved, every type known and every cast written out.

A relation is a tree of frozen nodes. An expression refers to a column by its position in the relation below, in a join
to the left side's columns and then the right side's; names are for people, and need not differ. A front end makes
plans, rules turn plans into cheaper ones that mean the same, a compiler turns a plan into a LazyFrame.

Neither Polars nor DuckDB is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.errors import Place


class Interval(NamedTuple):
    """A value of type INTERVAL: months, days and microseconds are kept apart, as their lengths differ."""

    months: int
    days: int
    micros: int


# Expressions


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A value for each row. Two that differ in their place only are equal."""

    type: Type
    place: Place | None = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _bare(self) == _bare(other)

    def __hash__(self) -> int:
        return hash((type(self).__name__, _bare(self)))


def _bare(node: Expression) -> tuple[Any, ...]:
    """Return what makes an expression what it is: TRUE is not 1, and 1.0 is not 1.00."""
    values = ((name, getattr(node, name)) for name in node.__dataclass_fields__ if name != "place")
    return tuple((name, type(value).__name__, _comparable(value)) for name, value in values)


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.items())
    return tuple(_comparable(item) for item in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class Column(Expression):
    """The column at a position of the relation below."""

    index: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Literal(Expression):
    """A constant: None, bool, int, float, Decimal, str, bytes, date, time, datetime, Months, a list or a dict."""

    value: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Cast(Expression):
    """A value as another type."""

    input: Expression
    null_on_failure: bool = False
    """TRY_CAST: NULL where the value has no counterpart, in place of a failure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Call(Expression):
    """A function or an operator over values of one row.

    Operators have the names `and`, `or` (of two or more), `not`, `=`, `<>`, `<`, `<=`, `>`, `>=`, `is distinct from`,
    `is not distinct from`, `is null`, `is not null`, `in` (the value, then the candidates), `+`, `-` (of one or two),
    `*`, `/`, `//`, `%`, `||`; every other name is that of a function, in lower case.
    """

    function: str
    arguments: tuple[Expression, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Case(Expression):
    """The value of the first branch whose condition is TRUE."""

    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameter(Expression):
    """Inside of a Lambda: one of its parameters, by position, of the innermost lambda (depth 0) or one around it."""

    index: int
    depth: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lambda(Expression):
    """What a function of lists does with each element. Columns are those of the row that holds the list."""

    parameters: tuple[Type, ...]
    body: Expression


@dataclass(frozen=True)
class SortKey:
    """One key of an ORDER BY."""

    value: Expression
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class AggregateCall(Expression):
    """An aggregate function over the rows of a group. `count` without arguments counts rows."""

    function: str
    arguments: tuple[Expression, ...] = ()
    distinct: bool = False
    filter: Expression | None = None
    order: tuple[SortKey, ...] = ()


class FrameUnit(StrEnum):
    """What the bounds of a frame count."""

    ROWS = "ROWS"
    RANGE = "RANGE"
    GROUPS = "GROUPS"


class Exclude(StrEnum):
    """Rows that a frame leaves out."""

    NO_OTHERS = "NO OTHERS"
    CURRENT_ROW = "CURRENT ROW"
    GROUP = "GROUP"
    TIES = "TIES"


@dataclass(frozen=True)
class Bound:
    """One end of a frame: `offset` rows, groups or units before (`following` unset) or after the current row."""

    following: bool
    offset: Expression | None = None
    unbounded: bool = False
    """Then there is no offset. Neither unbounded nor an offset: the current row (in RANGE and GROUPS its peers too)."""


@dataclass(frozen=True)
class Frame:
    """The rows around the current one that a window function sees."""

    unit: FrameUnit
    start: Bound
    end: Bound
    exclude: Exclude = Exclude.NO_OTHERS


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowCall(Expression):
    """A function over the rows of a partition: an aggregate, or a function that only windows have.

    `lag` and `lead` have three arguments (value, offset, default), `nth_value` two.
    """

    function: str
    arguments: tuple[Expression, ...] = ()
    partition: tuple[Expression, ...] = ()
    order: tuple[SortKey, ...] = ()
    frame: Frame | None = None
    """None for functions that have no use for one, such as `rank`."""
    distinct: bool = False
    ignore_nulls: bool = False
    filter: Expression | None = None
    argument_order: tuple[SortKey, ...] = ()
    """ORDER BY within the call, as in `sum(x ORDER BY y) OVER (...)`."""


# Relations


class Field(NamedTuple):
    """A column of a relation: its name, as a person would call it, and its type."""

    name: str
    type: Type


class Item(NamedTuple):
    """A computed column and its name."""

    value: Expression
    name: str


@dataclass(frozen=True)
class Relation:
    """Rows and columns."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns, in their order."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """The relations directly below, in their order."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Unary(Relation):
    input: Relation

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns of the input."""
        return self.input.fields

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """The one below."""
        return (self.input,)


class _Leaf(Relation):
    """A relation of columns that it names itself, with none below it."""

    columns: tuple[Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns that it names."""
        return self.columns

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class Scan(_Leaf):
    """Some columns of an input of the job, by their names."""

    table: str
    columns: tuple[Field, ...]


@dataclass(frozen=True)
class Values(_Leaf):
    """Rows that the text holds. One row without columns stands below a SELECT without FROM."""

    rows: tuple[tuple[Expression, ...], ...]
    columns: tuple[Field, ...]


ONE_ROW = Values(rows=((),), columns=())


@dataclass(frozen=True)
class Filter(_Unary):
    """The rows for which the condition is TRUE."""

    condition: Expression


@dataclass(frozen=True)
class Project(_Unary):
    """Computed columns, one row for each row below."""

    items: tuple[Item, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The computed columns."""
        return tuple(Field(item.name, item.value.type) for item in self.items)


class JoinKind(StrEnum):
    """What a join keeps. FULL keeps unmatched rows of both sides."""

    INNER = "INNER"
    LEFT = "LEFT"
    RIGHT = "RIGHT"
    FULL = "FULL"
    SEMI = "SEMI"
    """Rows of the left side with a match."""
    ANTI = "ANTI"
    """Rows of the left side without a match."""
    MARK = "MARK"
    """All rows of the left side and one BOOLEAN more: is there a match? NULL if that is unknown."""
    SINGLE = "SINGLE"
    """As LEFT; more than one match of a row fails."""


class Match(NamedTuple):
    """A comparison of a value of the left side with one of the right side, each over its own side's columns."""

    left: Expression
    right: Expression
    operator: str = "="
    """`=`, `<>`, `<`, `<=`, `>`, `>=`, `is distinct from` or `is not distinct from`."""


@dataclass(frozen=True)
class Join(Relation):
    """Pairs of rows for which all matches and the condition are TRUE. Without any of them: the cross product."""

    left: Relation
    right: Relation
    kind: JoinKind = JoinKind.INNER
    matches: tuple[Match, ...] = ()
    condition: Expression | None = None
    """Over the left side's columns and then the right side's."""
    mark: str = "mark"
    """Name of the column that MARK adds."""
    asof: bool = False
    """ASOF: the last match is an inequality, and of the rows that fulfil it only the nearest one counts."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Both sides' columns, the left side's, or those and the mark."""
        match self.kind:
            case JoinKind.SEMI | JoinKind.ANTI:
                return self.left.fields
            case JoinKind.MARK:
                return (*self.left.fields, Field(self.mark, BOOLEAN))
            case _:
                return self.left.fields + self.right.fields

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """The two sides."""
        return self.left, self.right


@dataclass(frozen=True)
class Aggregate(_Unary):
    """One row for each group of each grouping set: the keys, then the aggregates, then the GROUPING() numbers."""

    keys: tuple[Item, ...]
    calls: tuple[AggregateCall, ...]
    sets: tuple[tuple[int, ...], ...] | None = None
    """Positions of keys for each grouping set; the other keys are NULL in its rows. None: one set with all keys."""
    groupings: tuple[tuple[int, ...], ...] = ()
    """For each GROUPING(...): positions of keys. The leftmost is the highest bit, 1 where the key is not in the set."""
    names: tuple[str, ...] = ()
    """Names of the calls' and the groupings' columns."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Keys, aggregates, groupings."""
        types = [*(call.type for call in self.calls), *(BIGINT for _ in self.groupings)]
        names = self.names or tuple(f"a{i}" for i in range(len(types)))
        return (
            *(Field(item.name, item.value.type) for item in self.keys),
            *(Field(name, kind) for name, kind in zip(names, types, strict=True)),
        )


@dataclass(frozen=True)
class Window(_Unary):
    """The columns below, and one for each call."""

    calls: tuple[WindowCall, ...]
    names: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns below, then the calls."""
        names = self.names or tuple(f"w{i}" for i in range(len(self.calls)))
        return (*self.input.fields, *(Field(n, c.type) for n, c in zip(names, self.calls, strict=True)))


@dataclass(frozen=True)
class Sort(_Unary):
    """The same rows in an order."""

    keys: tuple[SortKey, ...]


@dataclass(frozen=True)
class Limit(_Unary):
    """Some rows from the start. Values are constants (or percent of all rows)."""

    count: int | None = None
    offset: int = 0
    percent: float | None = None
    ties: tuple[SortKey, ...] = ()
    """WITH TIES: the keys of the order; rows that are equal to the last one by them come too."""


@dataclass(frozen=True)
class Distinct(_Unary):
    """Different rows; with `on`, the first row of each group of equal `on` values, in the order of `order`."""

    on: tuple[Expression, ...] = ()
    order: tuple[SortKey, ...] = ()


class SetKind(StrEnum):
    """How rows of two relations are combined."""

    UNION = "UNION"
    INTERSECT = "INTERSECT"
    EXCEPT = "EXCEPT"


@dataclass(frozen=True)
class SetOperation(Relation):
    """Rows of relations with columns of the same types; without `all`, NULLs are equal and duplicates go."""

    kind: SetKind
    all: bool
    sides: tuple[Relation, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The first side's columns."""
        return self.sides[0].fields

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """The sides."""
        return self.sides


@dataclass(frozen=True)
class Unnest(_Unary):
    """The columns below and the lists' elements, one row for each; shorter lists are filled with NULL.

    A row whose lists are all empty or NULL is left out.
    """

    lists: tuple[Item, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns below, then the elements."""
        made = (Field(item.name, item.value.type.item or item.value.type) for item in self.lists)
        return (*self.input.fields, *made)


@dataclass(frozen=True)
class With(Relation):
    """A body that refers to a shared relation by its number, once or several times."""

    number: int
    name: str
    shared: Relation
    body: Relation

    @property
    def fields(self) -> tuple[Field, ...]:
        """The body's columns."""
        return self.body.fields

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """The shared relation, then the body."""
        return self.shared, self.body


@dataclass(frozen=True)
class Reference(_Leaf):
    """The shared relation of a With around this, or within a Recursive what the step before has found."""

    number: int
    columns: tuple[Field, ...]


@dataclass(frozen=True)
class Recursive(Relation):
    """The rows of the base, then of the step over what was new, again and again until a step finds none."""

    number: int
    name: str
    all: bool
    base: Relation
    step: Relation

    @property
    def fields(self) -> tuple[Field, ...]:
        """The base's columns."""
        return self.base.fields

    @property
    def inputs(self) -> tuple[Relation, ...]:
        """Base and step."""
        return self.base, self.step


@dataclass(frozen=True)
class Statement:
    """A whole statement: its relation, and the names of the result's columns, which are unique."""

    relation: Relation
    names: tuple[str, ...]
