"""Parts of time, by the names that warehouses have for them."""

from __future__ import annotations

from sqlglot import exp

KNOWN = "year, quarter, month, week, day, hour, minute, second, millisecond, microsecond"
_NAMES = {
    "year": "year years yyyy yy y yr yrs",
    "quarter": "quarter quarters qtr qtrs q",
    "month": "month months mon mons mm",
    "week": "week weeks wk w weekofyear woy",
    "day": "day days dd d dayofmonth",
    "hour": "hour hours hh hr hrs h",
    "minute": "minute minutes mi min mins",
    "second": "second seconds sec secs ss s",
    "millisecond": "millisecond milliseconds ms msec",
    "microsecond": "microsecond microseconds us usec",
    "isoweek": "isoweek week_iso weekiso",
    "dow": "dow dayofweek weekday dw",
    "isodow": "isodow dow_iso dayofweekiso dayofweek_iso day_of_week",
    "doy": "doy dayofyear yearday day_of_year",
    "isoyear": "isoyear yearofweekiso year_of_week yow",
    "decade": "decade decades",
    "epoch": "epoch epoch_second epoch_seconds",
}
_UNIT = {word: unit for unit, words in _NAMES.items() for word in words.split()}
_INTERVALS = {"quarter": (3, "months"), "week": (7, "days")}
_MAKERS = {
    "year": "to_years", "month": "to_months", "day": "to_days", "hour": "to_hours", "minute": "to_minutes",
    "second": "to_seconds", "millisecond": "to_milliseconds", "microsecond": "to_microseconds",
}  # fmt: skip


def shown(node: exp.Expr | None) -> str:
    """Return what stands for a unit, for a message."""
    return repr(node.name if node is not None and node.name else "" if node is None else node.sql())


def named(node: exp.Expr | None) -> str | None:
    """Return the part of time that a word, or a text in quotes, names; None if it is none."""
    if isinstance(node, exp.Column) and node.args.get("table"):
        return None
    if not isinstance(node, exp.Column | exp.Literal | exp.Var | exp.Identifier):
        return None
    return _UNIT.get(node.name.lower())


def interval(count: int, unit: str) -> str:
    """Return DuckDB's literal for a number of units."""
    factor, word = _INTERVALS.get(unit, (1, unit + "s"))
    return f"INTERVAL '{count * factor} {word}'"


def duration(count: str, unit: str) -> str:
    """Return DuckDB's expression for a number of units that is an expression itself."""
    factor, word = _INTERVALS.get(unit, (1, unit + "s"))
    times = f"{factor} * " if factor > 1 else ""
    return f"{_MAKERS[word.removesuffix('s')]}(CAST({times}({count}) AS INTEGER))"
