"""A relational plan as text that people read: one operator a line, what is below it further in."""

from __future__ import annotations

from typing import Any

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Bound,
    Call,
    Case,
    Cast,
    Column,
    Distinct,
    Expression,
    Filter,
    Frame,
    Join,
    Lambda,
    Limit,
    Literal,
    Parameter,
    Project,
    Recursive,
    Reference,
    Relation,
    Scan,
    SetOperation,
    Sort,
    SortKey,
    Statement,
    Unnest,
    Values,
    Window,
    WindowCall,
    With,
)


def shown(statement: Statement) -> str:
    """Return the plan of a statement, and the names of its result."""
    return "\n".join([f"result: {', '.join(statement.names)}", *_lines(statement.relation, 0)])


def _lines(node: Relation, level: int) -> list[str]:
    here = "  " * level + _line(node)
    return [here, *(line for below in node.inputs for line in _lines(below, level + 1))]


def _line(node: Relation) -> str:  # noqa: PLR0912 (one branch for each operator)
    match node:
        case Scan(table, columns):
            return f"scan {table}: {', '.join(f'{c.name} {c.type}' for c in columns)}"
        case Values(rows, columns):
            return f"values ({', '.join(str(c.type) for c in columns)}): {'; '.join(_all(row) for row in rows)}"
        case Filter(condition=condition):
            return f"filter {text(condition)}"
        case Project(items=items):
            return f"project {', '.join(f'{text(i.value)} as {i.name}' for i in items)}"
        case Join():
            return _join(node)
        case Aggregate():
            sets = "" if node.sets is None else f" sets {list(node.sets)}"
            groupings = f" grouping {list(node.groupings)}" if node.groupings else ""
            keys = ", ".join(text(k.value) for k in node.keys)
            return f"aggregate by ({keys}){sets}{groupings}: {_all(node.calls)}"
        case Window(calls=calls):
            return f"window {_all(calls)}"
        case Sort(keys=keys):
            return f"sort {_keys(keys)}"
        case Limit():
            ties = f" with ties of {_keys(node.ties)}" if node.ties else ""
            return f"limit {node.count if node.percent is None else f'{node.percent}%'} offset {node.offset}{ties}"
        case Distinct(on=on, order=order):
            return f"distinct on ({_all(on)}) by {_keys(order)}" if on else "distinct"
        case SetOperation(kind, every, _):
            return f"{kind}{' ALL' if every else ''}"
        case Unnest(lists=lists):
            return f"unnest {', '.join(f'{text(i.value)} as {i.name}' for i in lists)}"
        case With(number, name):
            return f"with {name} ({number})"
        case Reference(number):
            return f"reference ({number})"
        case Recursive(number, name, every):
            return f"recursive {name} ({number}){' ALL' if every else ''}"
        case _:
            raise AssertionError(type(node).__name__)


def _join(node: Join) -> str:
    matches = [f"{text(m.left)} {m.operator} right {text(m.right)}" for m in node.matches]
    condition = [text(node.condition)] if node.condition is not None else []
    asof = " asof" if node.asof else ""
    return f"join {node.kind}{asof} on {' and '.join([*matches, *condition]) or 'nothing'}"


def text(node: Expression) -> str:
    """Return an expression as text."""
    match node:
        case Column(index=index):
            return f"#{index}"
        case Literal(value=value, type=kind):
            return f"{value!r}:{kind}"
        case Cast(input=value, type=kind, null_on_failure=soft):
            return f"{'try_' if soft else ''}cast({text(value)} as {kind})"
        case Call(function=function, arguments=arguments, type=kind):
            return f"{function}({_all(arguments)}):{kind}"
        case Case(branches=branches, otherwise=otherwise):
            inside = " ".join(f"when {text(a)} then {text(b)}" for a, b in branches)
            return f"case {inside} else {text(otherwise)} end"
        case Parameter(index=index, depth=depth):
            return f"${index}" + "^" * depth
        case Lambda(parameters=parameters, body=body):
            return f"({', '.join(map(str, parameters))}) -> {text(body)}"
        case AggregateCall():
            order = f" order by {_keys(node.order)}" if node.order else ""
            filtered = f" filter {text(node.filter)}" if node.filter is not None else ""
            return f"{_called(node)}{order}{filtered}:{node.type}"
        case WindowCall():
            return _window(node)
        case _:
            raise AssertionError(type(node).__name__)


def _called(node: AggregateCall | WindowCall) -> str:
    return f"{node.function}({'distinct ' if node.distinct else ''}{_all(node.arguments)})"


def _window(node: WindowCall) -> str:
    parts = [
        f"partition {_all(node.partition)}" if node.partition else "",
        f"order {_keys(node.order)}" if node.order else "",
        _frame(node.frame) if node.frame else "",
        "ignore nulls" if node.ignore_nulls else "",
        f"filter {text(node.filter)}" if node.filter is not None else "",
        f"arguments by {_keys(node.argument_order)}" if node.argument_order else "",
    ]
    return f"{_called(node)} over ({'; '.join(p for p in parts if p)}):{node.type}"


def _frame(frame: Frame) -> str:
    return f"{frame.unit} {_bound(frame.start)} to {_bound(frame.end)} without {frame.exclude}"


def _bound(bound: Bound) -> str:
    where = "following" if bound.following else "preceding"
    if bound.unbounded:
        return f"unbounded {where}"
    return f"{text(bound.offset)} {where}" if bound.offset is not None else "current"


def _keys(keys: tuple[SortKey, ...]) -> str:
    return ", ".join(
        f"{text(k.value)} {'desc' if k.descending else 'asc'} nulls {'first' if k.nulls_first else 'last'}"
        for k in keys
    )


def _all(nodes: Any) -> str:
    return ", ".join(text(node) for node in nodes)
