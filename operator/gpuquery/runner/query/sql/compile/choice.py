"""CASE, COALESCE, AND and OR: of their parts only those that count may fail.

Polars computes every part for every row. A cast or an overflow in a branch that a row does not choose would fail the
query, so a part that may fail sees its columns as NULL in such rows. What decides is computed once, so that a CASE of a
hundred branches is no larger than its text.
"""

from __future__ import annotations

import operator
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.compare import balanced_tree
from gpuquery.runner.query.sql.compile.fallible import is_risky, may_fail, reads_text
from gpuquery.runner.query.sql.compile.scope import Scope, Walk, let
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.types import BOOLEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGIC = ("and", "or")
_INDEX = pl.Int32

Choosing = Generator["tuple[plan.Expression, Scope]", Value, pl.Expr]


def case(node: plan.Case, scope: Scope) -> Walk:
    """Return the value of the first branch whose condition is TRUE."""
    tests, values = [test for test, _ in node.branches], [value for _, value in node.branches]
    if not any(map(may_fail, [*values, node.otherwise])) and not any(map(is_risky, tests[1:])):
        return (yield from _plain(node, scope))
    choice = yield from _choice(tests, scope)
    binding = let(choice, [*values, node.otherwise], scope)
    chain: Any = pl
    for at, part in enumerate([*values, node.otherwise], start=1):
        number = at if at <= len(values) else 0
        taken = binding.value == number
        value = yield part, binding.scope.within(taken) if may_fail(part) else binding.scope
        expr = cast(value, node.type, place=part.place, target=scope.target).expr
        chain = chain.when(taken).then(expr) if number else chain.otherwise(expr)
    return Value(binding.result(chain), node.type)


def _plain(node: plan.Case, scope: Scope) -> Walk:
    chain: Any = pl
    for when, then in node.branches:
        test = yield when, scope
        value = yield then, scope
        taken = cast(test, BOOLEAN, target=scope.target).expr
        chain = chain.when(taken).then(cast(value, node.type, place=then.place, target=scope.target).expr)
    value = yield node.otherwise, scope
    other = cast(value, node.type, place=node.otherwise.place, target=scope.target)
    return Value(chain.otherwise(other.expr), node.type)


def _choice(tests: Sequence[plan.Expression], scope: Scope) -> Choosing:
    """Return the number of the first test that is TRUE, from 1; 0 if none is. On GPUs every test sees every row.

    Tests behind a risky one stand within each other, and Polars' time grows with the square of that depth.
    """
    safe = next((at for at, test in enumerate(tests) if at and is_risky(test)), len(tests))
    safe = len(tests) if scope.target.gpu else safe
    chain: Any = pl
    for number, test in enumerate(tests[:safe], start=1):
        value = yield test, scope
        chain = chain.when(cast(value, BOOLEAN, target=scope.target).expr).then(pl.lit(number, dtype=_INDEX))
    choice: pl.Expr = chain.otherwise(pl.lit(0, dtype=_INDEX))
    for number, test in enumerate(tests[safe:], start=safe + 1):
        binding = let(choice, [test], scope)
        undecided = binding.value == 0
        value = yield test, binding.scope.within(undecided)
        taken = undecided & cast(value, BOOLEAN, target=scope.target).expr
        choice = binding.result(pl.when(taken).then(pl.lit(number, dtype=_INDEX)).otherwise(binding.value))
    return choice


def coalesce(node: plan.Call, scope: Scope) -> Walk:
    """Return the first argument that is not NULL."""
    first, *rest = node.arguments
    value = yield first, scope
    made = cast(value, node.type, place=first.place, target=scope.target).expr
    for part in rest:
        if may_fail(part):
            binding = let(made, [part], scope)
            value = yield part, binding.scope.within(binding.value.is_null())
            expr = cast(value, node.type, place=part.place, target=scope.target).expr
            made = binding.result(binding.value.fill_null(expr))
        else:
            value = yield part, scope
            made = made.fill_null(cast(value, node.type, place=part.place, target=scope.target).expr)
    return Value(made, node.type)


def logic(node: plan.Call, scope: Scope) -> Walk:
    """Return AND or OR. A part that reads text is not asked where those before it have decided.

    `x <> '' AND CAST(x AS INTEGER) > 0` is what people write, though no standard says in which order it is computed.
    """
    join = operator.and_ if node.function == "and" else operator.or_
    made: list[pl.Expr] = []
    before: list[pl.Expr] = []
    for part in _flat(node):
        if before and reads_text(part):
            binding = let(balanced_tree(before, join), [part], scope)
            decided = ~binding.value if join is operator.and_ else binding.value
            value = yield part, binding.scope.within(~decided.fill_null(value=False))
            made.append(binding.result(cast(value, BOOLEAN, target=scope.target).expr))
            continue
        value = yield part, scope
        made.append(cast(value, BOOLEAN, target=scope.target).expr)
        if not reads_text(part):
            before.append(made[-1])
    return Value(balanced_tree(made, join), BOOLEAN)


def _flat(node: plan.Call) -> list[plan.Expression]:
    """Return the operands of a chain of one and the same AND or OR, in their order."""
    found: list[plan.Expression] = []
    waiting: list[plan.Expression] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, plan.Call) and part.function == node.function:
            waiting.extend(reversed(part.arguments))
        else:
            found.append(part)
    return found
