"""A plan as a person reads it: a tree of steps with estimates, what inputs are read for, how parts are joined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Column,
    Distinct,
    Filter,
    Join,
    JoinKind,
    Limit,
    Project,
    Recursive,
    Reference,
    Relation,
    Scan,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
    With,
)
from gpuquery.runner.query.sql.rules.estimate import Estimates
from gpuquery.runner.query.sql.rules.printer import sort_keys, sql_text
from gpuquery.runner.query.sql.walk import conjunction, conjuncts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuquery.runner.query.sql.plan import Expression, Item, Statement
    from gpuquery.runner.query.sql.rules.statistics import Statistics

_MADE_UP = re.compile(r"[aw]\d+|column\d+|#\[.*\]|mark|SUBQUERY")
"""Names that the front end and the rules give to what has none."""
WIDTH = 150
"""A longer line is cut."""


@dataclass(frozen=True)
class Step:
    """What one line, or one box of a picture, says."""

    title: str
    details: tuple[str, ...] = ()
    rows: float | None = None
    steps: tuple[Step, ...] = ()
    """Those whose rows it takes, in their order."""
    leads_to: str = ""
    """What the step is for the one above, if there are several: `left`, `shared part`."""


def tree(
    statement: Statement, statistics: Statistics | None = None, note: Callable[[Relation], str] | None = None
) -> str:
    """Return the plan of a statement as text, the result first.

    Rows are shown where statistics are given. `note` may say more about a relation, such as where it runs.
    """
    return "\n".join(_lines(steps(statement, statistics, note), "", ""))


def steps(
    statement: Statement, statistics: Statistics | None = None, note: Callable[[Relation], str] | None = None
) -> Step:
    """Return the plan of a statement as steps."""
    return _Explainer(statistics, note).of(statement.relation)


def _lines(step: Step, first: str, rest: str) -> Iterator[str]:
    role = f"{step.leads_to}: " if step.leads_to else ""
    yield _cut(f"{first}{role}{step.title}{_counted(step.rows)}")
    branch = "│  " if step.steps else "   "
    for detail in step.details:
        yield _cut(f"{rest}{branch}{detail}")
    for i, below in enumerate(step.steps):
        last = i == len(step.steps) - 1
        yield from _lines(below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _counted(rows: float | None) -> str:
    return "" if rows is None else f"  (~{shown_number(rows)} row{'' if round(rows) == 1 else 's'})"


def shown_number(rows: float) -> str:
    """Return a number of rows in short: 1.2M, 35k, 7."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rows >= size * 0.9995:
            return f"{rows / size:.3g}{letter}"
    return f"{rows:.0f}"


class _Explainer:
    """Explains one plan."""

    def __init__(self, statistics: Statistics | None, note: Callable[[Relation], str] | None) -> None:
        self._estimates = Estimates(statistics) if statistics is not None else None
        self._note = note
        self._labels: dict[int, tuple[Relation, tuple[str, ...]]] = {}
        self._shared: dict[int, tuple[str, ...]] = {}
        self._names: dict[int, str] = {}

    def of(self, node: Relation, leads_to: str = "") -> Step:  # noqa: PLR0912
        """Return the step that a relation is."""
        match node:
            case Project() if all(isinstance(item.value, Column) for item in node.items):
                return self.of(node.input, leads_to)
            case Scan():
                return self._step(node, f"read {node.table}", [f"columns {', '.join(self._label(node))}"], leads_to)
            case Filter():
                return self._filter(node, leads_to)
            case Project():
                return self._project(node, leads_to)
            case Join():
                return self._join(node, leads_to)
            case Aggregate():
                return self._aggregate(node, leads_to)
            case Window():
                names = self._label(node.input)
                calls = [sql_text(call, names) for call in node.calls]
                return self._step(node, "window", calls, leads_to, node.input)
            case Limit():
                return self._limit(node, leads_to)
            case Sort():
                title = f"sort by {sort_keys(node.keys, self._label(node.input))}"
                return self._step(node, title, [], leads_to, node.input)
            case With():
                return self._with(node, leads_to)
            case Reference():
                return self._step(node, f"shared part {self._names.get(node.number, node.number)}", [], leads_to)
            case Recursive():
                self._shared[node.number] = self._label(node.base)
                self._names[node.number] = node.name
                title = f"recursive part {node.name}, until a step finds nothing new"
                below = (self.of(node.base, "start"), self.of(node.step, "step"))
                return self._step(node, title, [], leads_to, steps=below)
            case _:
                return self._other(node, leads_to)

    def _other(self, node: Relation, leads_to: str) -> Step:
        match node:
            case Values():
                count = len(node.rows)
                rows = "no row" if not count else "one row" if count == 1 else f"{count} rows"
                return self._step(node, f"{rows} of constants", [], leads_to)
            case Distinct():
                names = self._label(node.input)
                on = ", ".join(sql_text(key, names) for key in node.on)
                title = f"first row for each {on}" if on else "different rows"
                order = [f"in the order of {sort_keys(node.order, names)}"] if node.order else []
                return self._step(node, title, order, leads_to, node.input)
            case SetOperation():
                title = f"{node.kind.value}{' ALL' if node.all else ''}"
                return self._step(node, title, [], leads_to, *node.sides)
            case Unnest():
                names = self._label(node.input)
                title = f"one row for each element of {', '.join(sql_text(item.value, names) for item in node.lists)}"
                return self._step(node, title, [], leads_to, node.input)
            case _:
                return self._step(node, type(node).__name__, [], leads_to, *node.inputs)

    def _step(
        self,
        node: Relation,
        title: str,
        details: Sequence[str],
        leads_to: str,
        *below: Relation,
        steps: tuple[Step, ...] = (),
    ) -> Step:
        rows = self._estimates.rows(node) if self._estimates else None
        note = self._note(node) if self._note else ""
        notes = (*details, note) if note else tuple(details)
        return Step(title, notes, rows, steps or tuple(self.of(one) for one in below), leads_to)

    def _filter(self, node: Filter, leads_to: str) -> Step:
        below: Relation = node
        conditions: list[Expression] = []
        while isinstance(below, Filter):
            conditions = [*conjuncts(below.condition), *conditions]
            below = below.input
        names = self._label(below)
        predicate = sql_text(conjunction(conditions), names)
        if isinstance(below, Scan):
            found = [f"columns {', '.join(names)}", f"rows where {predicate}"]
            return self._step(node, f"read {below.table}", found, leads_to)
        return self._step(node, f"keep rows where {predicate}", [], leads_to, below)

    def _project(self, node: Project, leads_to: str) -> Step:
        names = self._label(node.input)
        made = [
            f"{item.name} = {sql_text(item.value, names)}" for item in node.items if not isinstance(item.value, Column)
        ]
        return self._step(node, "compute", made, leads_to, node.input)

    def _join(self, node: Join, leads_to: str) -> Step:
        left, right = self._label(node.left), self._label(node.right)
        both = _apart([*left, *right])
        width = len(left)
        on = [
            f"{sql_text(m.left, both)} {_operator(m.operator)} {sql_text(m.right, both[width:])}" for m in node.matches
        ]
        if node.condition is not None:
            on.append(sql_text(node.condition, both))
        kind = "ASOF" if node.asof else "CROSS" if not on and node.kind is JoinKind.INNER else node.kind.value
        title = f"{kind} join" + (" on " + " AND ".join(on) if on else "")
        return self._step(node, title, [], leads_to, node.left, node.right)

    def _aggregate(self, node: Aggregate, leads_to: str) -> Step:
        names = self._label(node.input)
        by = [sql_text(key.value, names) for key in node.keys]
        calls = [sql_text(call, names) for call in node.calls]
        title = f"group by {', '.join(by)}" if by else "all rows as one group"
        if not node.calls and by and node.sets is None:
            title = f"different values of {', '.join(by)}"
        if node.sets is not None:
            calls.append("grouping sets " + ", ".join(f"({', '.join(by[i] for i in one)})" for one in node.sets))
        return self._step(node, title, calls, leads_to, node.input)

    def _limit(self, node: Limit, leads_to: str) -> Step:
        count = "all rows" if node.count is None else f"{node.count} row{'' if node.count == 1 else 's'}"
        count = f"{node.percent:g}% of the rows" if node.percent is not None else count
        title = f"first {count}" + (f" after {node.offset}" if node.offset else "")
        below = node.input
        if isinstance(below, Sort):
            title += f" by {sort_keys(below.keys, self._label(below.input))}"
            below = below.input
        return self._step(node, title + (" and those equal to the last" if node.ties else ""), [], leads_to, below)

    def _with(self, node: With, leads_to: str) -> Step:
        shared = self.of(node.shared, f"shared part {node.name}")
        self._shared[node.number] = self._label(node.shared)
        self._names[node.number] = node.name
        if self._estimates:
            self._estimates.share(node.number, node.shared)
        body = self.of(node.body)
        if body.title == "with shared parts":
            return Step(body.title, (), body.rows, (shared, *body.steps), leads_to)
        return Step("with shared parts", (), body.rows, (shared, body), leads_to)

    # Names of columns

    def _label(self, node: Relation) -> tuple[str, ...]:
        """Return the names of a relation's columns, each one different from the others."""
        known = self._labels.get(id(node))
        if known is None:
            known = node, self._find_labels(node)
            self._labels[id(node)] = known
        return known[1]

    def _find_labels(self, node: Relation) -> tuple[str, ...]:
        match node:
            case Filter() | Sort() | Limit() | Distinct():
                return self._label(node.input)
            case Join():
                left = self._label(node.left)
                if len(node.fields) == len(left):
                    return left
                if node.kind is JoinKind.MARK:
                    return (*left, node.mark)
                return _apart([*left, *self._label(node.right)])
            case Project():
                below = self._label(node.input)
                return _apart([_name(item, below) for item in node.items])
            case Reference() if node.number in self._shared:
                return self._shared[node.number]
            case Window() | Unnest():
                below = self._label(node.input)
                return (*below, *(field.name for field in node.fields[len(below) :]))
            case With():
                self._shared[node.number] = self._label(node.shared)
                return self._label(node.body)
            case Aggregate() if not node.names:
                below = self._label(node.input)
                return (
                    *(key.name for key in node.keys),
                    *(sql_text(call, below) for call in node.calls),
                    *_groupings(node),
                )
            case _:
                return _apart([field.name for field in node.fields])


def _name(item: Item, below: Sequence[str]) -> str:
    """Return the author's name of a column, if it has one, else what it is."""
    if isinstance(item.value, Column) and _MADE_UP.fullmatch(item.name):
        return below[item.value.index]
    return item.name


def _groupings(node: Aggregate) -> list[str]:
    return [f"GROUPING({', '.join(node.keys[i].name for i in one)})" for one in node.groupings]


def _operator(operator: str) -> str:
    return operator.upper() if operator.startswith("is") else operator


def _apart(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, new = 1, name
        while new in taken:
            number += 1
            new = f"{name} ({number})"
        taken.add(new)
        found.append(new)
    return tuple(found)
