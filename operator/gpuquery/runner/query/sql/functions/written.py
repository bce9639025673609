"""What authors call functions, and is written with others before it gets here: for the reference only.

DuckDB's binder replaces its macros by what they stand for, and operators have their place among the expressions. The
tests call each of them, as all rows of the table.
"""

from __future__ import annotations

from gpuquery.runner.query.sql.functions.table import Row

_GROUPS = {
    "Operators": (
        ("+", "NUMBER, NUMBER -> NUMBER", "The sum, or a later date: `date + 1`, `date + INTERVAL 1 MONTH`.", "add"),
        ("-", "NUMBER, NUMBER -> NUMBER", "The difference, an earlier date, or what lies between two.", "subtract"),
        ("*", "NUMBER, NUMBER -> NUMBER", "The product; fails where it does not fit its type.", "multiply"),
        ("/", "NUMBER, NUMBER -> DOUBLE", "The quotient as a floating-point number.", ""),
        ("//", "NUMBER, NUMBER -> NUMBER", "The quotient cut toward zero.", "divide"),
        ("%", "NUMBER, NUMBER -> NUMBER", "The remainder, with the sign of the first number.", "mod"),
        ("=", "ANY, ANY -> BOOLEAN", "Whether both are equal; `<>`, `<`, `<=`, `>`, `>=` compare too.", "<> < <= > >="),
        ("is distinct from", "ANY, ANY -> BOOLEAN", "Whether they differ; NULL is equal to NULL.", ""),
        ("is null", "ANY -> BOOLEAN", "Whether there is no value; `is not null`.", ""),
        ("in", "ANY, ANY, ... -> BOOLEAN", "Whether a value is one of several; `not in`.", ""),
        ("between", "ANY, ANY, ANY -> BOOLEAN", "Whether a value lies between two, or is one of them.", ""),
        ("and", "BOOLEAN, BOOLEAN -> BOOLEAN", "Whether both are TRUE, in three-valued logic.", "or not"),
    ),
    "Conditions": (
        ("case", "BOOLEAN, ANY, ... -> ANY", "`CASE WHEN a THEN b ELSE c END`.", ""),
        ("cast", "ANY -> ANY", "A value as another type: `CAST(a AS DATE)`, `a::DATE`.", ""),
        ("try_cast", "ANY -> ANY", "As CAST, but NULL for what has no counterpart.", ""),
        ("coalesce", "ANY, ... -> ANY", "The first value that is not NULL.", ""),
        ("ifnull", "ANY, ANY -> ANY", "The first value, or the second one if that is NULL.", ""),
        ("nullif", "ANY, ANY -> ANY", "The first value, but NULL if the second one equals it.", ""),
        ("if", "BOOLEAN, ANY, ANY -> ANY", "The second value where the first one is TRUE, else the third.", ""),
        ("assert_true", "BOOLEAN, [VARCHAR] -> NULL", "Fails unless the condition is TRUE.", ""),
    ),
    "Written with others": (
        ("split_part", "VARCHAR, VARCHAR, INTEGER -> VARCHAR", "A part between separators; -1 is the last.", ""),
        ("fdiv", "NUMBER, NUMBER -> DOUBLE", "The quotient, rounded down.", ""),
        ("date_add", "DATE|TIMESTAMP, INTERVAL -> TIMESTAMP", "A later date.", ""),
        ("days_in_month", "DATE|TIMESTAMP -> BIGINT", "How many days the month has.", ""),
        ("ago", "INTERVAL -> TIMESTAMP", "The moment so long before the start of the job.", ""),
        ("now", "-> TIMESTAMP", "The start of the job.", "current_timestamp transaction_timestamp"),
        ("current_date", "-> DATE", "The day on which the job started, in UTC.", "today"),
        ("localtimestamp", "-> TIMESTAMP", "The start of the job, in UTC.", "current_localtimestamp"),
        ("list_append", "LIST, ANY -> LIST", "The list with one more element.", "array_append array_push_back"),
        ("list_prepend", "ANY, LIST -> LIST", "The list with one more in front.", "array_prepend array_push_front"),
        ("list_reverse", "LIST -> LIST", "The elements from the last to the first.", "array_reverse"),
        ("array_pop_back", "LIST -> LIST", "The list without its last element.", ""),
        ("array_pop_front", "LIST -> LIST", "The list without its first element.", ""),
        ("array_to_string", "LIST, VARCHAR -> VARCHAR", "The elements as one text, with a separator between.", ""),
        ("list_sum", "LIST -> NUMBER", "The sum of the elements.", ""),
        ("list_avg", "LIST -> DOUBLE", "The average of the elements.", ""),
        ("list_min", "LIST -> ANY", "The least element.", ""),
        ("list_max", "LIST -> ANY", "The greatest element.", ""),
        ("list_count", "LIST -> BIGINT", "How many elements are not NULL.", ""),
        ("list_first", "LIST -> ANY", "The first element.", ""),
        ("list_last", "LIST -> ANY", "The last element.", ""),
        ("list_any_value", "LIST -> ANY", "The first element that is not NULL.", ""),
        ("list_product", "LIST -> DOUBLE", "The product of the elements.", ""),
        ("list_median", "LIST -> DOUBLE", "The median of the elements.", ""),
        ("list_stddev_samp", "LIST -> DOUBLE", "The standard deviation of a sample.", ""),
        ("list_stddev_pop", "LIST -> DOUBLE", "The standard deviation of all.", ""),
        ("list_var_samp", "LIST -> DOUBLE", "The variance of a sample.", ""),
        ("list_var_pop", "LIST -> DOUBLE", "The variance of all.", ""),
        ("list_bool_and", "LIST -> BOOLEAN", "Whether all elements are TRUE.", ""),
        ("list_bool_or", "LIST -> BOOLEAN", "Whether an element is TRUE.", ""),
        ("list_bit_and", "LIST -> INTEGER", "The bits that all elements have.", ""),
        ("list_bit_or", "LIST -> INTEGER", "The bits that an element has.", ""),
        ("list_bit_xor", "LIST -> INTEGER", "The bits that an odd number of elements have.", ""),
        ("list_string_agg", "LIST -> VARCHAR", "The elements as one text, with commas between.", ""),
    ),
}  # fmt: skip


def _none(_: object) -> None:
    raise AssertionError("written with other functions before it gets here")


ROWS = tuple(
    Row(name, (signature,), does, _none, tuple(aliases.split()), group=group)  # type: ignore[arg-type]
    for group, rows in _GROUPS.items()
    for name, signature, does, aliases in rows
)
_WINDOWS = (
    ("row_number", "-> BIGINT", "The number of the row in its partition.", ""),
    ("rank", "-> BIGINT", "The rank, with gaps behind equal rows.", ""),
    ("dense_rank", "-> BIGINT", "The rank without gaps.", ""),
    ("percent_rank", "-> DOUBLE", "The rank from 0 to 1.", ""),
    ("cume_dist", "-> DOUBLE", "The part of the rows that do not come later.", ""),
    ("ntile", "INTEGER -> BIGINT", "The number of one of so many buckets of about one size.", ""),
    ("lag", "ANY, [INTEGER], [ANY] -> ANY", "The value so many rows before, or a default.", ""),
    ("lead", "ANY, [INTEGER], [ANY] -> ANY", "The value so many rows behind, or a default.", ""),
    ("first_value", "ANY -> ANY", "The value of the frame's first row.", ""),
    ("last_value", "ANY -> ANY", "The value of the frame's last row.", ""),
    ("nth_value", "ANY, INTEGER -> ANY", "The value of the frame's row with that number.", ""),
)
WINDOWS = tuple(
    Row(name, (signature,), does, _none, tuple(aliases.split()), group="Window functions")  # type: ignore[arg-type]
    for name, signature, does, aliases in _WINDOWS
)
"""Functions that need OVER. Every aggregate function can have it too."""
