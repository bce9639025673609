"""Makes a statement that shows a difference smaller, for as long as it shows the same kind of difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLAUSES = ("where", "order", "limit", "offset", "having", "qualify", "distinct", "with_", "joins", "group", "spec")
TRIES = 400


def reduced(text: str, still: Callable[[str], bool], tries: int = TRIES) -> str:
    """Return a shorter statement for which `still` holds; `text` itself if sqlglot's writing of it does not show it."""
    best = sqlglot.parse_one(text, read="duckdb")
    if not still(best.sql(dialect="duckdb")):
        return text
    while tries > 0:
        for smaller in _smaller(best):
            tries -= 1
            written = smaller.sql(dialect="duckdb")
            if len(written) < len(best.sql(dialect="duckdb")) and still(written):
                best = smaller
                break
            if tries <= 0:
                break
        else:
            break
    return best.sql(dialect="duckdb")


def _smaller(tree: exp.Expression) -> Iterator[exp.Expression]:
    """Return the tree with one part less, large parts first."""
    nodes = list(tree.walk())
    for number, node in enumerate(nodes):
        for clause in CLAUSES:
            if node.args.get(clause):
                yield _edited(tree, number, lambda found, clause=clause: found.set(clause, None))
        if isinstance(node, exp.SetOperation):
            for side in ("this", "expression"):
                yield _edited(tree, number, lambda found, side=side: found.replace(found.args[side]))
        for name, items in node.args.items():
            if isinstance(items, list) and len(items) > 1:
                for at in range(len(items)):
                    yield _edited(
                        tree, number, lambda found, name=name, at=at: found.set(name, _without(found.args[name], at))
                    )
        if isinstance(node, exp.Condition | exp.Paren | exp.Func) and node.parent:
            for child in node.iter_expressions():
                if isinstance(child, exp.Condition | exp.Func) and not isinstance(child, exp.DataType):
                    index = next(i for i, n in enumerate(nodes) if n is child)
                    yield _edited(tree, number, lambda found, index=index: found, index)


def _without(items: list[exp.Expression], at: int) -> list[exp.Expression]:
    return items[:at] + items[at + 1 :]


def _edited(
    tree: exp.Expression, number: int, edit: Callable[[exp.Expression], object], child: int | None = None
) -> exp.Expression:
    copy = tree.copy()
    nodes = list(copy.walk())
    if child is not None:
        nodes[number].replace(nodes[child].copy())
        return copy
    if number == 0 and isinstance(nodes[0], exp.SetOperation):
        return _root(nodes[0], edit)
    edit(nodes[number])
    return copy


def _root(node: exp.Expression, edit: Callable[[exp.Expression], object]) -> exp.Expression:
    """Edit the root itself, which nothing holds that could be made to hold another."""
    holder = exp.Paren(this=node)
    edit(node)
    made: exp.Expression = holder.this
    made.pop()
    return made
