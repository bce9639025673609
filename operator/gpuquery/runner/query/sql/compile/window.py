"""From a Window of the plan to columns of a frame.

The calls are taken by partition and order. What sees the whole partition needs no order of the rows (`over`); for all
others the rows are sorted once, and each call is computed over row numbers: ranks and values by `window_positions`,
totals by `window_totals`. What is left puts the rows of each frame side by side (`window_rows`); that is done beside
the other calls and joined to them at the end, as plans that are used twice within plans that are used twice soon take
long to optimize. The rows come back in any order. For GPUs there is another way, `window_gpu`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import window_positions as positions
from gpuquery.runner.query.sql.compile.aggregate_functions import FUNCTIONS
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.compile.window_frames import Ordered, is_whole_partition, ranges
from gpuquery.runner.query.sql.compile.window_gpu import over as on_gpu
from gpuquery.runner.query.sql.compile.window_rows import INDIFFERENT, FrameAggregate, Inputs, over_rows
from gpuquery.runner.query.sql.compile.window_sheet import Sheet, sorted_by
from gpuquery.runner.query.sql.compile.window_totals import TOTALS, FramedCall, is_supported
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.functions.known import unknown
from gpuquery.runner.query.sql.plan import Call
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.window_frames import Range
    from gpuquery.runner.query.sql.plan import Expression, Window, WindowCall

_POSITIONS = positions.RANKS | positions.OFFSETS | positions.VALUES
_ALIASES = {"first": "first_value", "arbitrary": "first_value", "last": "last_value"}
_IN_ORDER = {"first_value": "first", "last_value": "last"}
"""What functions of windows are with an order of their own."""

Numbered = list[tuple[int, "WindowCall"]]


def window(node: Window, below: Compiled, target: Target) -> Compiled:
    """Return the relation below with a column for each call behind its own.

    The names of the new columns are unique in the result.
    """
    sheet = Sheet(below, target)
    calls = [(at, _named(call)) for at, call in enumerate(node.calls)]
    if target.gpu:
        names = {at: _column(sheet, call, on_gpu(sheet, call)) for at, call in calls}
    else:
        names = _on_cpu(sheet, below, calls)
    added = tuple(names[at] for at, _ in calls)
    frame = sheet.frame.select(*below.names, *added)
    return Compiled(frame, (*below.names, *added), (*below.types, *(call.type for call in node.calls)))


def _on_cpu(sheet: Sheet, below: Compiled, calls: Numbered) -> dict[int, str]:
    """Compute the calls, and return the names of their columns."""
    aside = [(at, call) for at, call in calls if _by_rows(call)]
    done = {at for at, _ in aside}
    names: dict[int, str] = {}
    beside: list[FrameAggregate] = []
    identity = sheet.name()
    if aside:
        numbered = pl.int_range(pl.len(), dtype=pl.Int64).alias(identity)
        sheet.frame = sheet.frame.with_columns(numbered).cache()
        base = Compiled(sheet.frame, (*below.names, identity), (*below.types, BIGINT))
        for at, call in aside:
            names[at] = sheet.name()
            beside.append(over_rows(_sorted(Sheet(base, sheet.target), call), call, identity, names[at]))
    for at, call in calls:
        if at not in done and _needs_no_order(call):
            names[at] = _column(sheet, call, _over(sheet, call))
            done.add(at)
    for group in _by_order([(at, call) for at, call in calls if at not in done]):
        window = _sorted(sheet, group[0][1])
        for at, call in group:
            names[at] = _column(sheet, call, _framed(window, call))
    for found in beside:
        sheet.frame = found.joined(sheet.frame, identity)
    return names


def _column(sheet: Sheet, call: WindowCall, expr: pl.Expr) -> str:
    return sheet.one(expr.cast(dtype_of(call.type))).meta.output_name()


def _sorted(sheet: Sheet, call: WindowCall) -> Ordered:
    return Ordered(sheet, sorted_by(sheet, call.partition, call.order), call.order)


def _by_order(calls: Numbered) -> list[Numbered]:
    """Return calls, with their positions, by partition and order."""
    groups: dict[tuple[object, ...], Numbered] = {}
    for at, call in calls:
        groups.setdefault((call.partition, call.order), []).append((at, call))
    return list(groups.values())


def _named(call: WindowCall) -> WindowCall:
    """Return a call under the name by which it is computed. Raises SqlError for one that is not."""
    name = call.function
    if call.argument_order or call.filter is not None or call.distinct:
        if name in _IN_ORDER:
            known = _also(call, call.arguments[0]) if call.ignore_nulls else call.filter
            call = replace(call, function=_IN_ORDER[name], filter=known)
        elif name in _POSITIONS:
            words = f"ORDER BY within {name} is not supported: write it into OVER (...)"
            raise SqlError(words, call.place or call.argument_order[0].value.place)
    elif name == "any_value" and call.order:
        call = replace(call, function="first_value", ignore_nulls=True)
    else:
        call = replace(call, function=_ALIASES.get(name, name))
    if call.function not in _POSITIONS and call.function not in FUNCTIONS:
        raise unknown(name, [*FUNCTIONS, *_POSITIONS], call.place)
    return call


def _also(call: WindowCall, value: Expression) -> Expression:
    """Return the call's filter, and that a value is known."""
    known = Call(type=BOOLEAN, function="is not null", arguments=(value,))
    return known if call.filter is None else Call(type=BOOLEAN, function="and", arguments=(call.filter, known))


def _by_rows(call: WindowCall) -> bool:
    """Return whether a call has to see the rows of each frame side by side."""
    return call.function not in _POSITIONS and not is_whole_partition(call.frame, call.order) and not is_supported(call)


def _needs_no_order(call: WindowCall) -> bool:
    """Return whether a call gives the same for every row of a partition, whatever the order of its rows."""
    if call.function not in FUNCTIONS or not is_whole_partition(call.frame, call.order):
        return False
    return not call.order or call.function in INDIFFERENT


def _over(sheet: Sheet, call: WindowCall) -> pl.Expr:
    expr = Inputs(sheet, call).expression()
    keys = [sheet.key(node) for node in call.partition]
    return expr.over(keys) if keys else expr


def _framed(window: Ordered, call: WindowCall) -> pl.Expr:
    """Return a call over the rows of a sheet that is sorted for it."""
    if call.function in positions.RANKS:
        return positions.rank(window, call)
    if call.function in positions.OFFSETS:
        return positions.value_at_offset(window, call)
    if call.frame is None:
        raise SqlError(f"{call.function} needs a frame", call.place)
    if call.function in positions.VALUES:
        return positions.value_in_frame(window, call, ranges(window, call.frame))
    if is_whole_partition(call.frame, call.order):
        return Inputs(window.sheet, call).expression().over(window.at.first)
    return TOTALS[call.function](_totalled(window, call, ranges(window, call.frame)))


def _totalled(window: Ordered, call: WindowCall, pieces: Sequence[Range]) -> FramedCall:
    sheet = window.sheet
    value = sheet.value(call.arguments[0]) if call.arguments else None
    test = None if call.filter is None else sheet.condition(call.filter)
    expr = None if value is None else value.expr
    if expr is not None and test is not None:
        expr = pl.when(test).then(expr)
    counts = pl.lit(value=True) if expr is None else expr.is_not_null()
    if expr is None and test is not None:
        counts = test
    if expr is not None:
        expr, counts = sheet.add(expr, counts)
    assert call.frame is not None
    kind = call.type if value is None else value.type
    return FramedCall(window, call, call.frame, pieces, expr, kind, counts)
