"""Templates of generated expressions over lists, records, times of day, zones, spans and bytes; see `sql_expressions`.

All of them are for DuckDB alone: PostgreSQL has no such types, or prints their values in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

RICH = ("list", "words", "rec", "time", "tz", "span", "blob")
"""The sorts: a list of whole numbers, one of texts, a record `n`, `t`, and what the names say."""
LITERALS: Mapping[str, tuple[str, ...]] = {
    "list": ("[1, 2]", "[1, NULL]", "[3]", "CAST([] AS integer[])"),
    "words": ("['a', 'b']", "['zzz', NULL]", "[''] "),
    "rec": ("{'n': 1, 't': 'r'}", "{'n': NULL, 't': 'r'}", "{'n': 2, 't': 'a'}"),
    "time": ("TIME '12:30:15'", "TIME '23:59:59.999999'", "TIME '00:00:00'"),
    "tz": ("TIMESTAMPTZ '2024-03-31 00:59:59+00'", "TIMESTAMPTZ '2024-01-31 23:00:00-05'"),
    "span": ("INTERVAL '90 minutes'", "INTERVAL '-2 hours'", "(TIMESTAMP '2024-01-02' - TIMESTAMP '2023-12-31')"),
    "blob": ("encode('a')", "'\\xAA'::BLOB", "encode('')"),
}
TYPES: Mapping[str, str] = {
    "list": "integer[]", "words": "varchar[]", "rec": "STRUCT(n integer, t varchar)", "time": "time",
    "tz": "timestamptz", "span": "interval", "blob": "blob",
}  # fmt: skip
_ANY = (
    "!CASE WHEN {bool} THEN {same} ELSE {same} END",
    "!CASE WHEN {bool} THEN {same} END",
    "!coalesce({same}, {same})",
    "!nullif({same}, {same})",
)
_ORDERED = ("!greatest({same}, {same})", "!least({same}, {same})")
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "list": (
        *_ANY,
        "![{int}, {int}]",
        "!list_sort({list})",
        "!list_sort({list}, 'DESC', 'NULLS FIRST')",
        "!list_sort(list_distinct({list}))",
        "!list_reverse({list})",
        "!list_concat({list}, {list})",
        "!list_append({list}, {int})",
        "!list_prepend({int}, {list})",
        "!{list}[{small}:{positive}]",
        "!list_transform({list}, lambda x: x + 1)",
        "!list_filter({list}, lambda x: x > 1)",
        "!list_filter({list}, lambda x: x <> {leafint})",
        "!list_transform({words}, lambda w: length(w))",
        "!range({positive})",
        "!generate_series({small}, {positive})",
        "!list_resize({list}, 2)",
        "!flatten([{list}, {list}])",
    ),
    "words": (
        *_ANY,
        "!string_split({text}, '_')",
        "!string_split({text}, '')",
        "!regexp_extract_all({text}, '[a-z]')",
        "!list_transform({words}, lambda w: w || '.')",
        "!list_sort({words})",
        "![{text}, {text}]",
        "!{words}[1:1]",
        "!CAST({list} AS varchar[])",
    ),
    "rec": (
        *_ANY,
        "!{'n': {int}, 't': {text}}",
        "!struct_pack(n := {int}, t := {text})",
        "![{rec}, {rec}][{positive}]",
    ),
    "time": (
        *_ANY,
        *_ORDERED,
        "!CAST({ts} AS time)",
        "!{time} + INTERVAL '90 minutes'",
        "!{time} - INTERVAL '3 hours'",
        "!TRY_CAST({leaftext} AS time)",
        "!make_time({positive}, {positive}, 7.5)",
    ),
    "tz": (
        *_ANY,
        *_ORDERED,
        "!CAST({ts} AS timestamptz)",
        "!CAST({ts} AS timestamp) AT TIME ZONE '{zone}'",
        "!{tz} + INTERVAL '1 day'",
        "!{tz} - INTERVAL '1 month'",
        "!date_trunc('{trunc}', {tz})",
        "!CAST({date} AS timestamptz)",
        "!to_timestamp({int})",
    ),
    "span": (
        *_ANY,
        "!{ts} - {ts}",
        "!{tz} - {tz}",
        "!{positive} * INTERVAL '1 hour'",
        "!{span} + {span}",
        "!-({span})",
        "!to_minutes({int})",
        "!{span} * {small}",
    ),
    "blob": (*_ANY, "!encode({text})", "!unhex(hex({blob}))", "!from_base64(base64({blob}))"),
}
INTO: Mapping[str, tuple[str, ...]] = {
    "int": (
        "!len({list})", "!list_sum({list})", "!list_max({list})", "!list_position({list}, {small})",
        "!list_count({list})", "!{list}[{small}]", "!({rec}).n", "!len({words})", "!octet_length({blob})",
        "!list_aggregate({list}, 'min')", "!list_unique({list})", "!extract(hour FROM {time})",
        "!extract(minute FROM {tz})", "!extract(microseconds FROM {ts})", "!date_diff('hour', {ts}, {ts})",
        "!datesub('month', {date}, {date})", "!extract(week FROM {date})", "!extract(isoyear FROM {ts})",
        "!epoch_ms({ts})",
    ),
    "float": (
        "!list_avg({list})", "!extract(epoch FROM {ts})", "!extract(epoch FROM {span})", "!epoch({tz})",
        "!extract(julian FROM {ts})", "!list_median({list})",
    ),
    "text": (
        "!array_to_string({words}, '-')", "!array_to_string({list}, ',')", "!{words}[{small}]", "!({rec}).t",
        "!hex({blob})", "!base64({blob})", "!CAST({time} AS varchar)", "!CAST({tz} AS varchar)",
        "!strftime({date}, '%d.%m.%y %j')", "!dayname({date})",
        "!format('{}-{}', {int}, {text})", "!CAST({float} AS varchar)",

    ),
    "bool": (
        "!list_contains({list}, {int})", "!list_has_any({list}, {list})", "!list_has_all({list}, {list})",
        "!{list} {eq} {list}", "!{rec} {eq} {rec}", "!{list} {distinct} {list}", "!{rec} {distinct} {rec}",
        "!{words} {eq} {words}", "!{time} {op} {time}", "!{tz} {op} {tz}", "!{span} {op} {span}", "!{blob} {op} {blob}",
        "!{rich} IS NULL", "!{rich} IS NOT NULL", "!{tz} {in} ({tz}, {tz})", "!{time} BETWEEN {time} AND {time}",
        "!{text} = ANY({words})", "!{int} {in} (SELECT unnest([1, 2, NULL]))", "!{ts} {op} {tz}",
        "!regexp_full_match({text}, '[a-z]+')", "!{text} SIMILAR TO '[a-z]*'",
        "!({ts}, {ts}) OVERLAPS ({ts}, {ts})",
    ),
    "date": ("!CAST({tz} AS date)", "!make_date({year}, {positive}, {positive})", "!date_trunc('week', {date})::DATE"),
    "ts": (
        "!{tz} AT TIME ZONE '{zone}'", "!{ts} + {span}", "!{ts} - {span}", "!{date} + {time}", "!{date} + {span}",
        "!time_bucket(INTERVAL '7 days', {ts})", "!{ts} + INTERVAL ({small}) DAY", "!CAST({tz} AS timestamp)",
        "!make_timestamp({year}, {positive}, {positive}, 1, 2, 3.5)", "!{ts} - INTERVAL ({small}) MONTH",
        "!strptime(strftime({ts}, '%Y/%m/%d'), '%Y/%m/%d')",
    ),
}  # fmt: skip
"""What leads from these sorts to the others."""
_NUMBERS = (
    "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "real",
    "double", "numeric(4, 1)", "numeric(9, 2)", "numeric(18, 4)", "numeric(38, 10)", "numeric(38, 0)",
)  # fmt: skip
_MOMENTS = ("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamptz")
CASTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("int", "dec", "float", "bool"), (*_NUMBERS, "varchar", "boolean")),
    "text": (*_NUMBERS, *_MOMENTS, "varchar", "boolean", "time"),
    "date": (*_MOMENTS, "varchar"),
    "ts": (*_MOMENTS, "time", "varchar"),
    "tz": (*_MOMENTS, "varchar"),
    "time": ("time", "varchar"),
    "list": ("bigint[]", "varchar[]", "double[]", "tinyint[]", "numeric(9, 2)[]"),
    "words": ("integer[]", "varchar[]", "date[]"),
    "rec": ("STRUCT(n bigint, t varchar)", "STRUCT(n varchar, t varchar)", "STRUCT(n tinyint, t date)"),
}
"""Types that DuckDB casts a sort to, but for TIMESTAMPTZ as TIME and TIMESTAMP_NS as TIMESTAMP_S, which it lacks."""
