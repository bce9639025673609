"""The value of `now()` and `current_date`: the time when the job was created, the same on every attempt and rank."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Literal
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.errors import Place


def macros(now: dt.datetime) -> tuple[str, ...]:
    """Return CREATE MACRO statements that make DuckDB's functions for the current time return the job's creation time.

    Its binder (DuckDB 2.0) puts the time of its own clock into the plan where such a function is an argument.
    """
    moment = now.astimezone(dt.UTC).replace(tzinfo=None)
    values = {
        f"TIMESTAMPTZ '{moment}+00'": ("now", "get_current_timestamp", "transaction_timestamp"),
        f"DATE '{moment.date()}'": ("current_date", "today"),
        f"TIMESTAMP '{moment}'": ("current_localtimestamp",),
        f"TIME '{moment.time()}'": ("current_localtime",),
    }
    return tuple(f"CREATE MACRO {name}() AS {value}" for value, names in values.items() for name in names)


@dataclass(frozen=True)
class CurrentTime:
    """The job's start. Times and days are those of UTC."""

    now: dt.datetime

    def constant(self, kind: Type, place: Place | None) -> Literal:
        """Return the moment as a constant of the type that the function has."""
        moment = self.now.astimezone(dt.UTC)
        match kind.kind:
            case Kind.TIMESTAMP_TZ:
                value: object = moment
            case Kind.TIMESTAMP:
                value = moment.replace(tzinfo=None)
            case Kind.DATE:
                value = moment.date()
            case Kind.TIME:
                value = moment.time()
            case _:
                raise SqlError(f"the moment as {kind} is not supported: use current_timestamp", place)
        return Literal(type=kind, place=place, value=value)
