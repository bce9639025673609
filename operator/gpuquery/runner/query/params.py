"""Parameters: the typed values of the job's YAML as Python values, or an error that names the parameter and the value.

The object's schema has checked shapes (`1994-02-31` looks like a date); what a value means is checked here, before
anything is read.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.spec import Parameter

MAX_DIGITS = 38
"""Digits of a decimal: what 128 bits hold."""
INT64 = range(-(2**63), 2**63)
LIST_KINDS = {
    "strings": "string",
    "integers": "integer",
    "numbers": "number",
    "decimals": "decimal",
    "dates": "date",
    "timestamps": "timestamp",
}
"""Kinds of lists, and that of their items."""


@dataclass(frozen=True)
class Value:
    """One parameter: its name, its type by the field of the YAML that was set, and the value; None is NULL."""

    name: str
    kind: str
    python: Any

    @property
    def is_list(self) -> bool:
        """Whether the value is a list, for `IN :name`."""
        return self.kind in LIST_KINDS

    @property
    def described(self) -> str:
        """The kind in words: `a date`, `an integer`, `a list of strings`, `NULL of the type date`."""
        if self.python is None:
            return f"NULL of the type {self.kind}"
        if self.is_list:
            return f"a list of {self.kind}"
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"


def values(parameters: Mapping[str, Parameter]) -> dict[str, Value]:
    """Return the values by name; raises JobError(InvalidQuery) with the name and value of the first wrong one."""
    return {name: Value(name, p.kind, _python(name, p.kind, p.raw)) for name, p in parameters.items()}


def _python(name: str, kind: str, raw: Any) -> Any:
    if raw is None:
        return None
    match kind:
        case "integer":
            return _integer(name, raw)
        case known if known in LIST_KINDS:
            return [_python(name, LIST_KINDS[known], item) for item in raw]
        case "number" if not math.isfinite(raw):
            raise _wrong(name, raw, "a finite number is needed")
        case "decimal":
            return _decimal(name, raw)
        case "date":
            try:
                return dt.date.fromisoformat(raw)
            except ValueError as exc:
                raise _wrong(name, raw, f"it is not a valid date ({exc})") from None
        case "timestamp":
            try:
                return dt.datetime.fromisoformat(raw)
            except ValueError:
                raise _wrong(name, raw, "it is not an ISO 8601 timestamp: write it like 1994-01-31T12:00:00") from None
        case _:
            return raw


def _integer(name: str, raw: int) -> int:
    if raw not in INT64:
        raise _wrong(name, raw, "it does not fit into 64 bits: use a decimal")
    return raw


def _decimal(name: str, raw: str) -> Decimal:
    value = Decimal(raw)
    digits, exponent = len(value.as_tuple().digits), value.as_tuple().exponent
    if max(digits, -int(exponent)) > MAX_DIGITS:
        raise _wrong(name, raw, f"it has more than {MAX_DIGITS} digits")
    return value


def _wrong(name: str, raw: object, why: str) -> JobError:
    shown = raw if len(str(raw)) <= 80 else str(raw)[:80] + "..."
    return JobError(Failure.INVALID_QUERY, f'parameter "{name}" is {shown!r}: {why}')
