"""Values as numbers, for bounds."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any


def number(value: Any) -> float | None:
    """Return a value as a number that keeps the order: days for dates, seconds for times; None for others."""
    match value:
        case bool():
            return float(value)
        case int() | float() | Decimal():
            try:
                found = float(value)
            except OverflowError:
                return None
            return found if found == found else None  # noqa: PLR0124
        case dt.datetime():
            return value.toordinal() + (value.hour * 3600 + value.minute * 60 + value.second) / 86400
        case dt.date():
            return float(value.toordinal())
        case _:
            return None
