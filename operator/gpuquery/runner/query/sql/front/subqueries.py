"""Scalar sub-queries: DuckDB's check for more than one row becomes a SINGLE join of our plan.

DuckDB 2.0 aggregates an uncorrelated scalar sub-query to its first row and its count, and puts
`CASE WHEN count > 1 THEN error(...) ELSE first END` above it. That is a SINGLE join of one row with the sub-query.
"""

from __future__ import annotations

from gpuquery.runner.query.sql.plan import Aggregate, Call, Case, Column, Literal, Project, Relation


def scalar(project: Project) -> Relation | None:
    """Return the sub-query of one column that such a projection stands for; None for any other one."""
    if not isinstance(project.input, Aggregate) or project.input.keys or len(project.input.calls) != 2:
        return None
    if len(project.items) != 1 or not _fails(project.items[0].value):
        return None
    first, count = project.input.calls
    if first.function != "first" or count.function != "count" or first.order or first.filter or first.distinct:
        return None
    value = first.arguments[0]
    below = project.input.input
    if not isinstance(value, Column) or value.index != 0 or len(below.fields) != 1:
        return None
    return below


def _fails(value: object) -> bool:
    """Whether it is the first row's value, or the error of a sub-query with several rows."""
    if not isinstance(value, Case) or len(value.branches) != 1:
        return False
    condition, error = value.branches[0]
    many = isinstance(condition, Call) and condition.function == ">" and isinstance(condition.arguments[1], Literal)
    return many and isinstance(error, Call) and error.function == "error" and isinstance(value.otherwise, Column)
