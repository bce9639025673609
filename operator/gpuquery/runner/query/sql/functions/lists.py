"""Functions of lists. The first element is at 1, and -1 is the last one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.functions.table import Table, null_unless_all_known
from gpuquery.runner.query.sql.functions.text import characters
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Lists")
_SIZE = pl.Int64
_MOST = 2**27
"""Elements of a list that is made of a number: 1 GB of whole numbers. Polars ends the process where memory ends."""


def size(items: pl.Expr) -> pl.Expr:
    """Return how many elements a list has."""
    return items.list.len().cast(_SIZE)


# Making


def _list_value(call: FunctionCall) -> pl.Expr:
    if not call.values:
        return pl.lit([], dtype=call.dtype)
    item = call.dtype.inner  # type: ignore[attr-defined]
    if isinstance(item, pl.List):  # which concat_list would put one behind the other
        held = pl.concat_list([pl.struct(expr.cast(item).alias("item")) for expr in call.exprs])
        return held.list.eval(pl.element().struct.field("item"))
    return pl.concat_list([expr.cast(item) for expr in call.exprs])


def _range(call: FunctionCall, *, closed: bool) -> pl.Expr:
    """Return whole numbers from the first on; the end belongs to generate_series only."""
    if not all(value.type.is_integer for value in call.values):
        raise call.refuse(f"{call.node.function} of dates is not supported: add a range of numbers to a date")
    first, last, step = pl.lit(0, _SIZE), call.exprs[0], 1
    if len(call.values) > 1:
        first, last = call.exprs[0], call.exprs[1]
    if len(call.values) > 2:
        step = call.constant(2)
    if step == 0:
        return null_unless_all_known(pl.lit([], dtype=call.dtype), first, last)
    end = last.cast(_SIZE) + (1 if step > 0 else -1 if closed else 0) if closed else last.cast(_SIZE)
    first = _bounded(call, first.cast(_SIZE), (end.cast(pl.Float64) - first.cast(pl.Float64)) / step)
    return null_unless_all_known(pl.int_ranges(first, end, step), first, last)


def _bounded(call: FunctionCall, value: pl.Expr, elements: pl.Expr) -> pl.Expr:
    """Return a value, and fail where a list that it makes has too many elements."""
    message = f"{call.node.function} makes a list of more than {_MOST} elements"
    return fail_where(value, elements > _MOST, message, call.place)


TABLE.add(
    "list_value", "[ANY], ... -> LIST", does="A list of values: `[a, b]`.", aliases="list_pack", sees_null=True,
    build=_list_value,
)  # fmt: skip
for _name, _closed, _says in (
    ("range", False, "to below the second one"),
    ("generate_series", True, "to the second one"),
):
    TABLE.add(
        _name, "INTEGER, [INTEGER], ['INTEGER] -> BIGINT[]", does=f"Whole numbers from the first on {_says}, by steps.",
        build=partial(_range, closed=_closed),
    )  # fmt: skip

# Elements


def _extract(call: FunctionCall) -> pl.Expr:
    held, at = call.exprs
    at = at.cast(_SIZE)
    if call.values[0].type.kind is Kind.TEXT:
        start = pl.when(at > 0).then(at - 1).when(at < 0).then(at)
        inside = (at != 0) & (at.abs() <= characters(held))
        return null_unless_all_known(pl.when(inside).then(held.str.slice(start, 1)).otherwise(pl.lit("")), held, at)
    return held.list.get(pl.when(at > 0).then(at - 1).when(at < 0).then(at), null_on_oob=True)


def _bound(call: FunctionCall, index: int) -> pl.Expr | None:
    """Return a bound of a slice; None if it is open, which the plan says by an empty list."""
    return None if call.values[index].type.kind is Kind.LIST else call.exprs[index].cast(_SIZE)


def _slice(call: FunctionCall) -> pl.Expr:
    """Return the elements from a position to another one, both of them within."""
    held, text = call.exprs[0], call.values[0].type.kind is Kind.TEXT
    first, last = _bound(call, 1), _bound(call, 2)
    step = call.constant(3) if len(call.values) > 3 else 1
    if step == 0 or (text and step != 1):
        raise call.refuse("the step of a slice must not be 0, and of a text it is 1", 3)
    if step < 0:
        if first is not None or last is not None:
            raise call.refuse("a slice with a negative step has no bounds: write list_reverse(list[a:b])", 3)
        reverse = held.list.reverse()
        return reverse.list.gather_every(-step) if step < -1 else reverse
    count = characters(held) if text else size(held)
    start = pl.lit(0, _SIZE)
    if first is not None:
        start = pl.when(first > 0).then(first - 1).when(first < 0).then(count + first).otherwise(0)
        start = pl.when(start < 0).then(0).otherwise(start)
    stop = count
    if last is not None:
        stop = pl.when(last >= 0).then(last).otherwise(count + last + 1)
        stop = pl.when(stop > count).then(count).otherwise(stop)
    many = pl.when(stop > start).then(stop - start).otherwise(0)
    made = held.str.slice(start, many) if text else held.list.slice(start, many)
    made = made if step == 1 else made.list.gather_every(step)
    return null_unless_all_known(made, held, *(bound for bound in (first, last) if bound is not None))


TABLE.add(
    "list_extract", "LIST, INTEGER -> ANY", "VARCHAR, INTEGER -> VARCHAR", build=_extract,
    aliases="array_extract list_element",
    does="An element of a list, NULL where there is none, or a character of a text: `a[1]`.",
)  # fmt: skip
TABLE.add(
    "list_slice", "LIST|VARCHAR, INTEGER|LIST, INTEGER|LIST, ['INTEGER] -> LIST", build=_slice, aliases="array_slice",
    does="The elements of a list or the characters of a text from a position to another one: `a[2:3]`.",
)  # fmt: skip


def _resize(call: FunctionCall) -> pl.Expr:
    many = call.exprs[1].cast(_SIZE)
    items, many = call.exprs[0], _bounded(call, many, many)
    item = call.dtype.inner  # type: ignore[attr-defined]
    by = call.exprs[2].cast(item) if len(call.values) > 2 else pl.lit(None, dtype=item)
    missing = pl.when(many > size(items)).then(many - size(items)).otherwise(0)
    return pl.concat_list(items.list.slice(pl.lit(0, _SIZE), many), by.repeat_by(missing))


def _select(call: FunctionCall) -> pl.Expr:
    """Return the elements at positions; NULL where there is none."""
    items, at = call.exprs
    at = fail_where(at, at.list.contains(pl.lit(None)), "the positions of list_select contain NULL", call.place)
    place = pl.element().cast(_SIZE)
    far = pl.lit(2**31 - 1, _SIZE)
    zero = at.list.eval(pl.when(place > 0).then(place - 1).otherwise(far))
    return items.list.gather(zero, null_on_oob=True)


TABLE.add(
    "list_resize", "LIST, INTEGER, [ANY] -> LIST", aliases="array_resize", build=_resize,
    does="The list with so many elements: cut, or filled up with NULL or the third argument.",
)  # fmt: skip
TABLE.add(
    "list_select", "LIST, LIST -> LIST", does="The elements at the positions of the second list.", build=_select,
    aliases="array_select",
)  # fmt: skip

# Finding


def _item(call: FunctionCall) -> pl.Expr:
    """Return the element that is looked for, as the list holds it."""
    kind = call.values[0].type.item
    assert kind is not None
    return call.exprs[1].cast(dtype_of(kind))


def _contains(call: FunctionCall) -> pl.Expr:
    """Whether a list has an element. An empty one has none, so there it does not matter that one is unknown."""
    items, item = call.exprs[0], _item(call)
    return (
        pl.when(size(items) == 0)
        .then(pl.lit(value=False))
        .otherwise(null_unless_all_known(items.list.contains(item), item))
    )


def _position(call: FunctionCall) -> pl.Expr:
    """Return where an element stands first. Inside of a list no other column can be seen, so it is a constant."""
    items = call.exprs[0]
    wanted = call.constant(1)
    same = pl.element().is_null() if wanted is None else pl.element() == _item(call)
    return (items.list.eval(same.fill_null(value=False).arg_true().first()).list.first() + 1).cast(pl.Int32)


TABLE.add(
    "list_contains", "LIST, ANY -> BOOLEAN", aliases="array_contains list_has array_has", build=_contains,
    does="Whether a list has an element: `a IN list`.", sees_null=True,
)  # fmt: skip
TABLE.add(
    "list_position", "LIST, 'ANY -> INTEGER", aliases="list_indexof array_indexof array_position", build=_position,
    does="Where an element stands in a list for the first time; NULL if it does not.", sees_null=True,
)  # fmt: skip


def _common(call: FunctionCall) -> pl.Expr:
    """Return the elements of both lists, without NULL."""
    return call.exprs[0].list.set_intersection(call.exprs[1].cast(call.dtype)).list.drop_nulls()


def _has_any(call: FunctionCall) -> pl.Expr:
    a, b = call.exprs
    return size(a.list.set_intersection(b).list.drop_nulls()) > 0


def _has_all(call: FunctionCall) -> pl.Expr:
    a, b = call.exprs
    return size(b.list.drop_nulls().list.set_difference(a)) == 0


TABLE.add(
    "list_has_any", "LIST, LIST -> BOOLEAN", aliases="array_has_any &&", build=_has_any,
    does="Whether two lists have an element in common.",
)  # fmt: skip
TABLE.add(
    "list_has_all", "LIST, LIST -> BOOLEAN", aliases="array_has_all @>", build=_has_all,
    does="Whether the first list has every element of the second.",
)  # fmt: skip
TABLE.add(
    "<@", "LIST, LIST -> BOOLEAN", build=lambda call: _has_all(replace(call, values=call.values[::-1])),
    does="Whether the second list has every element of the first.",
)  # fmt: skip
TABLE.add(
    "list_intersect", "LIST, LIST -> LIST", aliases="array_intersect", build=_common,
    does="The elements that both lists have, each once.",
)  # fmt: skip

# Changing


def joined(call: FunctionCall) -> pl.Expr:
    """Return the elements of all lists in one list; a list that is NULL has none."""
    parts = [expr.cast(call.dtype) for expr in call.exprs]
    empty = pl.lit([], dtype=call.dtype)
    return pl.concat_list([pl.when(part.is_null()).then(empty).otherwise(part) for part in parts])


def _order(call: FunctionCall, *, reverse: bool) -> Callable[[Callable[[bool, bool], pl.Expr]], pl.Expr]:
    """Read the order of a sort: 'ASC' or 'DESC', 'NULLS FIRST' or 'NULLS LAST'."""
    words = [str(call.constant(index)).upper() for index in range(1, len(call.values))]
    descending = reverse or "DESC" in words or "DESCENDING" in words
    if unknown := set(words) - {"ASC", "DESC", "ASCENDING", "DESCENDING", "NULLS FIRST", "NULLS LAST"}:
        raise call.refuse(
            f"'{unknown.pop()}' is not a sort order; write 'ASC', 'DESC', 'NULLS FIRST' or 'NULLS LAST'", 1
        )
    return lambda build: build(descending, "NULLS FIRST" not in words)


def _sort(call: FunctionCall, *, reverse: bool) -> pl.Expr:
    items = call.exprs[0]
    return _order(call, reverse=reverse)(lambda down, last: items.list.sort(descending=down, nulls_last=last))


def _grade(call: FunctionCall) -> pl.Expr:
    """Return the positions of the elements in their order; equal ones stay in theirs."""

    def build(down: bool, last: bool) -> pl.Expr:
        place = pl.int_range(pl.lit(1, _SIZE), pl.len().cast(_SIZE) + 1)
        order = place.sort_by(pl.element(), descending=down, nulls_last=last, maintain_order=True)
        return call.exprs[0].list.eval(order)

    return _order(call, reverse=False)(build)


def _where(call: FunctionCall) -> pl.Expr:
    items, kept = call.exprs
    kept = fail_where(kept, kept.list.contains(pl.lit(None)), "the second list of list_where contains NULL", call.place)
    return items.list.gather(kept.list.eval(pl.element().arg_true()), null_on_oob=True)


def _flatten(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].list.eval(pl.element().list.explode(empty_as_null=False, keep_nulls=False))


TABLE.add(
    "list_concat", "LIST, ... -> LIST", aliases="list_cat array_cat array_concat", build=joined, sees_null=True,
    does="The elements of all lists in one list; lists that are NULL are left out.",
)  # fmt: skip
TABLE.add_expr(
    "list_distinct", "LIST -> LIST", aliases="array_distinct",
    build=lambda items: items.list.drop_nulls().list.unique(maintain_order=True),
    does="The different elements, without NULL, in the order in which they come first.",
)  # fmt: skip
TABLE.add(
    "list_unique", "LIST -> UBIGINT", aliases="array_unique", does="How many different elements a list has.",
    build=lambda call: call.exprs[0].list.drop_nulls().list.n_unique().cast(call.dtype),
)  # fmt: skip
for _name, _reverse in (("list_sort", False), ("list_reverse_sort", True)):
    TABLE.add(
        _name, "LIST, ['VARCHAR], ['VARCHAR] -> LIST" if not _reverse else "LIST, ['VARCHAR] -> LIST",
        aliases=_name.replace("list", "array"), build=partial(_sort, reverse=_reverse),
        does=f"The elements in {'descending' if _reverse else 'ascending'} order, NULLs last, or as the words say.",
    )  # fmt: skip
TABLE.add(
    "list_grade_up", "LIST, ['VARCHAR], ['VARCHAR] -> BIGINT[]", aliases="array_grade_up grade_up", build=_grade,
    does="The positions of the elements in their order.",
)  # fmt: skip
TABLE.add(
    "list_where", "LIST, LIST -> LIST", aliases="array_where", build=_where,
    does="The elements where the second list is TRUE.",
)  # fmt: skip
TABLE.add("flatten", "LIST -> LIST", does="The elements of a list of lists as one list.", build=_flatten)


def _array_length(call: FunctionCall) -> pl.Expr:
    if len(call.values) > 1 and call.constant(1) != 1:
        raise call.refuse("array_length counts the first dimension only", 1)
    return size(call.exprs[0])


TABLE.add("array_length", "LIST, ['INTEGER] -> BIGINT", does="How many elements a list has.", build=_array_length)
