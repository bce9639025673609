"""Common factors of an OR: (a AND x) OR (a AND y) is a AND (x OR y), and x = 1 OR x = 2 is x IN (1, 2).

Both hold in SQL's three-valued logic. A factor can go where the whole OR cannot: into a join's keys, to one side.
"""

from __future__ import annotations

from dataclasses import replace

from gpuquery.runner.query.sql.plan import Call, Expression, Literal
from gpuquery.runner.query.sql.walk import conjunction, conjuncts, disjunction, disjuncts, is_value, unique


def factored(node: Expression) -> Expression:
    """Return an OR with what all of its branches say taken out of it; any other expression as it is."""
    branches = disjuncts(node)
    if len(branches) < 2:
        return node
    split = [conjuncts(branch) for branch in branches]
    common = set(split[0]).intersection(*split[1:]) if all(len(parts) > 0 for parts in split) else set()
    if not common:
        return _listed(node, branches)
    factors = [part for part in unique(split[0]) if part in common]
    rest = [[part for part in parts if part not in common] for parts in split]
    if not all(rest):
        return conjunction(factors)
    inner = disjunction(unique([conjunction(parts) for parts in rest]))
    return conjunction([*factors, *conjuncts(factored(inner))])


def _listed(node: Expression, branches: list[Expression]) -> Expression:
    """Return an OR of equalities of one value with constants as a list of constants."""
    groups: dict[Expression, list[Literal]] = {}
    rest: list[Expression] = []
    for branch in branches:
        match branch:
            case Call(function="=", arguments=(value, Literal() as constant)) if constant.value is not None:
                groups.setdefault(value, []).append(constant)
            case Call(function="in", arguments=(value, *constants)) if all(is_value(c) for c in constants):
                groups.setdefault(value, []).extend(c for c in constants if isinstance(c, Literal))
            case _:
                rest.append(branch)
    if len(groups) + len(rest) == len(branches):
        return node
    found = [_in(value, constants, node) for value, constants in groups.items()]
    return disjunction([*found, *rest])


def _in(value: Expression, constants: list[Literal], node: Expression) -> Expression:
    several = list(dict.fromkeys(constants))
    call = Call(type=node.type, place=node.place, function="in", arguments=(value, *several))
    return call if len(several) > 1 else replace(call, function="=")
