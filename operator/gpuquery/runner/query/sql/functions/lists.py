"""Functions of lists. The first element is at 1, and -1 is the last one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.functions.table import Table, known
from gpuquery.runner.query.sql.functions.text import characters
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import Asked

TABLE = Table("Lists")
_SIZE = pl.Int64
_MOST = 2**27
"""Elements of a list that is made of a number: 1 GB of whole numbers. Polars ends the process where memory ends."""


def size(items: pl.Expr) -> pl.Expr:
    """Return how many elements a list has."""
    return items.list.len().cast(_SIZE)


# Making


def _list_value(asked: Asked) -> pl.Expr:
    if not asked.values:
        return pl.lit([], dtype=asked.dtype)
    item = asked.dtype.inner  # type: ignore[attr-defined]
    if isinstance(item, pl.List):  # which concat_list would put one behind the other
        held = pl.concat_list([pl.struct(expr.cast(item).alias("item")) for expr in asked.exprs])
        return held.list.eval(pl.element().struct.field("item"))
    return pl.concat_list([expr.cast(item) for expr in asked.exprs])


def _range(asked: Asked, *, closed: bool) -> pl.Expr:
    """Return whole numbers from the first on; the end belongs to generate_series only."""
    if not all(value.type.is_integer for value in asked.values):
        raise asked.refuse(f"{asked.node.function} of dates is not supported: add a range of numbers to a date")
    first, last, step = pl.lit(0, _SIZE), asked.exprs[0], 1
    if len(asked.values) > 1:
        first, last = asked.exprs[0], asked.exprs[1]
    if len(asked.values) > 2:
        step = asked.constant(2)
    if step == 0:
        return known(pl.lit([], dtype=asked.dtype), first, last)
    end = last.cast(_SIZE) + (1 if step > 0 else -1 if closed else 0) if closed else last.cast(_SIZE)
    first = _bounded(asked, first.cast(_SIZE), (end.cast(pl.Float64) - first.cast(pl.Float64)) / step)
    return known(pl.int_ranges(first, end, step), first, last)


def _bounded(asked: Asked, value: pl.Expr, elements: pl.Expr) -> pl.Expr:
    """Return a value, and fail where a list that it makes has too many elements."""
    message = f"{asked.node.function} makes a list of more than {_MOST} elements"
    return fail_where(value, elements > _MOST, message, asked.place)


TABLE.asked(
    "list_value", "[ANY], ... -> LIST", does="A list of values: `[a, b]`.", aliases="list_pack", sees_null=True,
    build=_list_value,
)  # fmt: skip
for _name, _closed, _says in (
    ("range", False, "to below the second one"),
    ("generate_series", True, "to the second one"),
):
    TABLE.asked(
        _name, "INTEGER, [INTEGER], ['INTEGER] -> BIGINT[]", does=f"Whole numbers from the first on {_says}, by steps.",
        build=partial(_range, closed=_closed),
    )  # fmt: skip

# Elements


def _extract(asked: Asked) -> pl.Expr:
    held, at = asked.exprs
    at = at.cast(_SIZE)
    if asked.values[0].type.kind is Kind.TEXT:
        start = pl.when(at > 0).then(at - 1).when(at < 0).then(at)
        inside = (at != 0) & (at.abs() <= characters(held))
        return known(pl.when(inside).then(held.str.slice(start, 1)).otherwise(pl.lit("")), held, at)
    return held.list.get(pl.when(at > 0).then(at - 1).when(at < 0).then(at), null_on_oob=True)


def _bound(asked: Asked, index: int) -> pl.Expr | None:
    """Return a bound of a slice; None if it is open, which the plan says by an empty list."""
    return None if asked.values[index].type.kind is Kind.LIST else asked.exprs[index].cast(_SIZE)


def _slice(asked: Asked) -> pl.Expr:
    """Return the elements from a position to another one, both of them within."""
    held, text = asked.exprs[0], asked.values[0].type.kind is Kind.TEXT
    first, last = _bound(asked, 1), _bound(asked, 2)
    step = asked.constant(3) if len(asked.values) > 3 else 1
    if step == 0 or (text and step != 1):
        raise asked.refuse("the step of a slice must not be 0, and of a text it is 1", 3)
    if step < 0:
        if first is not None or last is not None:
            raise asked.refuse("a slice with a negative step has no bounds: write list_reverse(list[a:b])", 3)
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
    return known(made, held, *(bound for bound in (first, last) if bound is not None))


TABLE.asked(
    "list_extract", "LIST, INTEGER -> ANY", "VARCHAR, INTEGER -> VARCHAR", build=_extract,
    aliases="array_extract list_element",
    does="An element of a list, NULL where there is none, or a character of a text: `a[1]`.",
)  # fmt: skip
TABLE.asked(
    "list_slice", "LIST|VARCHAR, INTEGER|LIST, INTEGER|LIST, ['INTEGER] -> LIST", build=_slice, aliases="array_slice",
    does="The elements of a list or the characters of a text from a position to another one: `a[2:3]`.",
)  # fmt: skip


def _resize(asked: Asked) -> pl.Expr:
    many = asked.exprs[1].cast(_SIZE)
    items, many = asked.exprs[0], _bounded(asked, many, many)
    item = asked.dtype.inner  # type: ignore[attr-defined]
    by = asked.exprs[2].cast(item) if len(asked.values) > 2 else pl.lit(None, dtype=item)
    missing = pl.when(many > size(items)).then(many - size(items)).otherwise(0)
    return pl.concat_list(items.list.slice(pl.lit(0, _SIZE), many), by.repeat_by(missing))


def _select(asked: Asked) -> pl.Expr:
    """Return the elements at positions; NULL where there is none."""
    items, at = asked.exprs
    at = fail_where(at, at.list.contains(pl.lit(None)), "the positions of list_select hold NULL", asked.place)
    place = pl.element().cast(_SIZE)
    far = pl.lit(2**31 - 1, _SIZE)
    zero = at.list.eval(pl.when(place > 0).then(place - 1).otherwise(far))
    return items.list.gather(zero, null_on_oob=True)


TABLE.asked(
    "list_resize", "LIST, INTEGER, [ANY] -> LIST", aliases="array_resize", build=_resize,
    does="The list with so many elements: cut, or filled up with NULL or the third argument.",
)  # fmt: skip
TABLE.asked(
    "list_select", "LIST, LIST -> LIST", does="The elements at the positions of the second list.", build=_select,
    aliases="array_select",
)  # fmt: skip

# Finding


def _item(asked: Asked) -> pl.Expr:
    """Return the element that is looked for, as the list holds it."""
    kind = asked.values[0].type.item
    assert kind is not None
    return asked.exprs[1].cast(dtype_of(kind))


def _contains(asked: Asked) -> pl.Expr:
    """Whether a list has an element. An empty one has none, so there it does not matter that one is unknown."""
    items, item = asked.exprs[0], _item(asked)
    return pl.when(size(items) == 0).then(pl.lit(value=False)).otherwise(known(items.list.contains(item), item))


def _position(asked: Asked) -> pl.Expr:
    """Return where an element stands first. Inside of a list no other column can be seen, so it is a constant."""
    items = asked.exprs[0]
    wanted = asked.constant(1)
    same = pl.element().is_null() if wanted is None else pl.element() == _item(asked)
    return (items.list.eval(same.fill_null(value=False).arg_true().first()).list.first() + 1).cast(pl.Int32)


TABLE.asked(
    "list_contains", "LIST, ANY -> BOOLEAN", aliases="array_contains list_has array_has", build=_contains,
    does="Whether a list has an element: `a IN list`.", sees_null=True,
)  # fmt: skip
TABLE.asked(
    "list_position", "LIST, 'ANY -> INTEGER", aliases="list_indexof array_indexof array_position", build=_position,
    does="Where an element stands in a list for the first time; NULL if it does not.", sees_null=True,
)  # fmt: skip


def _common(asked: Asked) -> pl.Expr:
    """Return the elements of both lists, without NULL."""
    return asked.exprs[0].list.set_intersection(asked.exprs[1].cast(asked.dtype)).list.drop_nulls()


def _has_any(asked: Asked) -> pl.Expr:
    a, b = asked.exprs
    return size(a.list.set_intersection(b).list.drop_nulls()) > 0


def _has_all(asked: Asked) -> pl.Expr:
    a, b = asked.exprs
    return size(b.list.drop_nulls().list.set_difference(a)) == 0


TABLE.asked(
    "list_has_any", "LIST, LIST -> BOOLEAN", aliases="array_has_any &&", build=_has_any,
    does="Whether two lists have an element in common.",
)  # fmt: skip
TABLE.asked(
    "list_has_all", "LIST, LIST -> BOOLEAN", aliases="array_has_all @>", build=_has_all,
    does="Whether the first list has every element of the second.",
)  # fmt: skip
TABLE.asked(
    "<@", "LIST, LIST -> BOOLEAN", build=lambda asked: _has_all(replace(asked, values=asked.values[::-1])),
    does="Whether the second list has every element of the first.",
)  # fmt: skip
TABLE.asked(
    "list_intersect", "LIST, LIST -> LIST", aliases="array_intersect", build=_common,
    does="The elements that both lists have, each once.",
)  # fmt: skip

# Changing


def joined(asked: Asked) -> pl.Expr:
    """Return the elements of all lists in one list; a list that is NULL has none."""
    parts = [expr.cast(asked.dtype) for expr in asked.exprs]
    empty = pl.lit([], dtype=asked.dtype)
    return pl.concat_list([pl.when(part.is_null()).then(empty).otherwise(part) for part in parts])


def _order(asked: Asked, *, reverse: bool) -> Callable[[Callable[[bool, bool], pl.Expr]], pl.Expr]:
    """Read the order of a sort: 'ASC' or 'DESC', 'NULLS FIRST' or 'NULLS LAST'."""
    words = [str(asked.constant(index)).upper() for index in range(1, len(asked.values))]
    descending = reverse or "DESC" in words or "DESCENDING" in words
    if unknown := set(words) - {"ASC", "DESC", "ASCENDING", "DESCENDING", "NULLS FIRST", "NULLS LAST"}:
        raise asked.refuse(f"'{unknown.pop()}' is no order; write 'ASC', 'DESC', 'NULLS FIRST' or 'NULLS LAST'", 1)
    return lambda build: build(descending, "NULLS FIRST" not in words)


def _sort(asked: Asked, *, reverse: bool) -> pl.Expr:
    items = asked.exprs[0]
    return _order(asked, reverse=reverse)(lambda down, last: items.list.sort(descending=down, nulls_last=last))


def _grade(asked: Asked) -> pl.Expr:
    """Return the positions of the elements in their order; equal ones stay in theirs."""

    def build(down: bool, last: bool) -> pl.Expr:
        place = pl.int_range(pl.lit(1, _SIZE), pl.len().cast(_SIZE) + 1)
        order = place.sort_by(pl.element(), descending=down, nulls_last=last, maintain_order=True)
        return asked.exprs[0].list.eval(order)

    return _order(asked, reverse=False)(build)


def _where(asked: Asked) -> pl.Expr:
    items, kept = asked.exprs
    kept = fail_where(kept, kept.list.contains(pl.lit(None)), "the second list of list_where holds NULL", asked.place)
    return items.list.gather(kept.list.eval(pl.element().arg_true()), null_on_oob=True)


def _flatten(asked: Asked) -> pl.Expr:
    return asked.exprs[0].list.eval(pl.element().list.explode(empty_as_null=False, keep_nulls=False))


TABLE.asked(
    "list_concat", "LIST, ... -> LIST", aliases="list_cat array_cat array_concat", build=joined, sees_null=True,
    does="The elements of all lists in one list; lists that are NULL are left out.",
)  # fmt: skip
TABLE.plain(
    "list_distinct", "LIST -> LIST", aliases="array_distinct",
    build=lambda items: items.list.drop_nulls().list.unique(maintain_order=True),
    does="The different elements, without NULL, in the order in which they come first.",
)  # fmt: skip
TABLE.asked(
    "list_unique", "LIST -> UBIGINT", aliases="array_unique", does="How many different elements a list has.",
    build=lambda asked: asked.exprs[0].list.drop_nulls().list.n_unique().cast(asked.dtype),
)  # fmt: skip
for _name, _reverse in (("list_sort", False), ("list_reverse_sort", True)):
    TABLE.asked(
        _name, "LIST, ['VARCHAR], ['VARCHAR] -> LIST" if not _reverse else "LIST, ['VARCHAR] -> LIST",
        aliases=_name.replace("list", "array"), build=partial(_sort, reverse=_reverse),
        does=f"The elements in {'descending' if _reverse else 'ascending'} order, NULLs last, or as the words say.",
    )  # fmt: skip
TABLE.asked(
    "list_grade_up", "LIST, ['VARCHAR], ['VARCHAR] -> BIGINT[]", aliases="array_grade_up grade_up", build=_grade,
    does="The positions of the elements in their order.",
)  # fmt: skip
TABLE.asked(
    "list_where", "LIST, LIST -> LIST", aliases="array_where", build=_where,
    does="The elements where the second list is TRUE.",
)  # fmt: skip
TABLE.asked("flatten", "LIST -> LIST", does="The elements of a list of lists as one list.", build=_flatten)


def _array_length(asked: Asked) -> pl.Expr:
    if len(asked.values) > 1 and asked.constant(1) != 1:
        raise asked.refuse("array_length counts the first dimension only", 1)
    return size(asked.exprs[0])


TABLE.asked("array_length", "LIST, ['INTEGER] -> BIGINT", does="How many elements a list has.", build=_array_length)
