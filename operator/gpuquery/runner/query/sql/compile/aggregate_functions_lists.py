"""Aggregates that keep the values: lists and texts; and those of bits and of how often a value is there."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_basic import distinct
from gpuquery.runner.query.sql.compile.aggregate_functions_group import GPU_RELEASES, Functions, Group, null_if_empty
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.types import TEXT, Kind


def _list(group: Group) -> pl.Expr:
    group.on_cpu()
    values = group.rows()[0]
    return pl.when(values.len() > 0).then(values.implode())


def _string_agg(group: Group) -> pl.Expr:
    group.on_cpu()
    between = group.constant(1, "the separator") if len(group.arguments) > 1 else ","
    text = cast(group.arguments[0], TEXT, place=group.call.place, target=group.target)
    group = replace(group, arguments=[text])
    values = group.rows(group.spread(text).is_not_null())[0]
    return pl.when(values.len() > 0).then(values.str.join(between))


def _bits(group: Group) -> pl.Expr:
    group.on_cpu()
    if group.type.kind is Kind.INT128:
        raise group.refuse(f"{group.call.function} of {group.type} is not supported: cast it to BIGINT")
    values = group.known.drop_nulls()
    match group.call.function:
        case "bit_and":
            return null_if_empty(group, values.bitwise_and())
        case "bit_or":
            return null_if_empty(group, values.bitwise_or())
        case _:
            return null_if_empty(group, values.bitwise_xor())


def _entropy(group: Group) -> pl.Expr:
    group.on_cpu()
    values = group.known.drop_nulls()
    # Polars 1.44: the streaming engine fails at `unique_counts`
    counts = values.alias("value").value_counts(name="rows").struct.field("rows")
    return pl.when(values.len() > 0).then(counts.entropy(base=2)).otherwise(0.0)


TABLE = Functions("Aggregates to lists and texts")
_add = TABLE.add
_add(
    "list",
    "ANY -> LIST",
    does="All values, NULLs too; NULL of no rows.",
    build=_list,
    aliases="array_agg",
    none=GPU_RELEASES,
)
_add(
    "string_agg",
    "ANY, ['VARCHAR] -> VARCHAR",
    does="The texts that are not NULL in a row, with a separator (a comma) between them.",
    build=_string_agg,
    aliases="listagg group_concat",
    none=GPU_RELEASES,
)
_add("approx_count_distinct", "ANY -> BIGINT", does="The exact number of different values.", build=distinct)
_add("bit_and", "INTEGER -> INTEGER", does="The bits that all values have.", build=_bits, none=GPU_RELEASES)
_add("bit_or", "INTEGER -> INTEGER", does="The bits that a value has.", build=_bits, none=GPU_RELEASES)
_add(
    "bit_xor", "INTEGER -> INTEGER", does="The bits that an odd number of values have.", build=_bits, none=GPU_RELEASES
)
_add(
    "entropy",
    "ANY -> DOUBLE",
    does="The entropy of how often each value is there, in bits; 0 of no values.",
    build=_entropy,
    none=GPU_RELEASES,
)
