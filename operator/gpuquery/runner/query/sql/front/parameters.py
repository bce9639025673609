"""Parameters: `:name` in the text becomes a typed variable of the binder's connection, never text.

The tokens are DuckDB's own, so strings, quoted names and comments are exactly what its parser takes for such. A value
is set as a variable with its type; the binder folds it where it needs a constant (LIMIT), and its type is checked as
any other one. So nothing in a value can end a literal.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.duckjson_types import duck_name, quoted
from gpuquery.runner.query.sql.front.source import Replacement, Source, byte_place
from gpuquery.runner.query.sql.front.tree import objects
from gpuquery.runner.query.sql.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    NULL,
    TEXT,
    TIMESTAMP,
    Kind,
    Type,
    decimal,
    list_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from gpuquery.runner.query.params import Value
    from gpuquery.runner.query.sql.front.tokens import Token

Json = dict[str, Any]

_CLOSING = frozenset({")", "]", "}", "'", '"'})


def replacements(text: str, tokens: list[Token], values: Mapping[str, Value]) -> list[Replacement]:
    """Return the variables that take the place of parameters.

    Raises SqlError for a parameter without a value, one that stands for a name, and a value that is not used.
    """
    found: list[Replacement] = []
    for i, token in enumerate(tokens):
        if not _is_parameter(tokens, i, values):
            continue
        name_token = tokens[i + 1]
        name = name_token.text
        place = byte_place(text, token.start, name_token.end)
        if i and tokens[i - 1].lower in _BEFORE_NAMES:
            raise SqlError(f"parameter :{name} stands for a name; it can only be a value", place)
        if name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise SqlError(f"parameter :{name} has no value (spec.parameters: {known})", place)
        new = _variable_reference(tokens, i, values[name], _variable(sorted(values).index(name)))
        found.append(Replacement(token.start, name_token.end, new, name))
    used = {item.parameter for item in found}
    if unused := sorted(set(values) - used):
        raise SqlError(f'parameter "{unused[0]}" is not used by the query: remove it or write :{unused[0]}')
    return found


def _is_parameter(tokens: list[Token], i: int, values: Mapping[str, Value]) -> bool:
    """Whether a parameter begins at a token: a colon or a dollar that touches a name, where a value may stand.

    Behind a value a colon belongs to a record or a slice; behind `[` too, unless the name is that of a parameter.
    """
    token = tokens[i]
    if token.text not in (":", "$") or i + 1 == len(tokens):
        return False
    after = tokens[i + 1]
    if not after.word or after.start != token.end or not after.text.isidentifier():
        return False
    if token.text == "$":
        return True
    before = tokens[i - 1] if i else None
    if before is None:
        return True
    if before.text == ":" and before.end == token.start:
        return False
    if before.text == "[":
        return after.text in values
    if before.text[-1:] in _CLOSING:
        return False
    return not before.word or before.lower in _BEFORE_VALUES


_BEFORE_NAMES = frozenset({"from", "join", "as", "table"})
_BEFORE_VALUES = frozenset(
    {
        *("select", "where", "and", "or", "not", "in", "like", "ilike", "between", "when", "then", "else", "limit"),
        *("offset", "on", "having", "by", "case", "is", "from", "distinct", "all", "qualify", "escape", "similar"),
        *("to", "interval", "preceding", "following", "range", "rows", "groups", "values", "as", "any", "some", "for"),
        *("union", "except", "intersect", "with", "filter", "using", "exists", "over", "glob", "return", "fetch"),
        *("first", "next", "date", "time", "timestamp"),
    }
)


def _variable_reference(tokens: list[Token], i: int, value: Value, variable: str) -> str:
    """What stands for a parameter. A list in IN stands for its elements; elsewhere it is one value, a list."""
    if not value.is_list:
        return f"({_getvariable(variable)})"
    before = tokens[i - 1].lower if i else ""
    items = ", ".join(_getvariable(_element(variable, k)) for k in range(len(value.python)))
    if before == "in":
        return f"({items})"
    return items if _inside_in(tokens, i) else _getvariable(variable)


def _inside_in(tokens: list[Token], i: int) -> bool:
    """Whether a token stands directly within `IN (...)`."""
    depth = 0
    for k in range(i - 1, 0, -1):
        text = tokens[k].text
        depth += text.count(")") + text.count("]") - text.count("(") - text.count("[")
        if depth < 0:
            after = tokens[k + 1].lower
            return text == "(" and tokens[k - 1].lower == "in" and after not in ("select", "with", "from", "values")
    return False


def _getvariable(variable: str) -> str:
    return f"getvariable('{variable}')"


def _variable(number: int) -> str:
    """DuckDB does not see letters' case in the names of variables, so they are numbered."""
    return f"p{number}"


def _element(variable: str, position: int) -> str:
    return f"{variable}.{position}"


def check_counts(tree: Json, source: Source, values: Mapping[str, Value]) -> None:
    """Raise SqlError for a parameter of LIMIT or OFFSET that is no whole number: DuckDB would make one of a string.

    And for functions there: DuckDB computes them while it binds, however long that takes.
    """
    modifiers = [node for node in objects(tree) if node.get("type") == "LIMIT_MODIFIER"]
    for part in (node.get(key) for node in modifiers for key in ("limit", "offset")):
        if not part:
            continue
        at = part["query_location"]
        name = source.parameter(at)
        if called := next((node for node in objects(part) if _is_called(node, source)), None):
            place = source.place(called["query_location"], called["query_location_length"])
            raise SqlError(f"{called['function_name']}() is refused in LIMIT and OFFSET: write a number", place)
        if name and values[name].kind not in ("integer", "null"):
            what = f"parameter :{name} is {values[name].described}, and LIMIT and OFFSET take an integer"
            raise SqlError(what, source.place(at, part["query_location_length"]))


def _is_called(node: Json, source: Source) -> bool:
    called = node.get("class") == "FUNCTION" and not node["is_operator"]
    return called and source.parameter(node["query_location"]) is None


def set_variables(session: duckdb.DuckDBPyConnection, values: Mapping[str, Value]) -> None:
    """Set the values as variables of the connection, each with its type."""
    for number, name in enumerate(sorted(values)):
        value, variable = values[name], _variable(number)
        kind = type_of(value)
        _set(session, variable, kind, value.python)
        if value.is_list and kind.item is not None:
            for k, item in enumerate(value.python):
                _set(session, _element(variable, k), kind.item, item)


def _set(session: duckdb.DuckDBPyConnection, variable: str, kind: Type, value: object) -> None:
    session.execute(f"SET VARIABLE {quoted(variable)} = CAST($1 AS {duck_name(kind)})", [_bindable(value)])


def type_of(value: Value) -> Type:
    """Return the type that a parameter has in SQL."""
    if value.is_list:
        kinds = [_type_of(item) for item in value.python]
        return list_of(_widest(kinds))
    return _type_of(value.python) if value.python is not None else _TYPES.get(value.kind, NULL)


_TYPES = {
    "string": TEXT, "integer": BIGINT, "number": DOUBLE, "boolean": BOOLEAN, "date": DATE, "timestamp": TIMESTAMP,
}  # fmt: skip
"""Of a NULL; that of a decimal takes on the digits of what it meets."""


def _widest(kinds: Sequence[Type]) -> Type:
    """Return the type of a list whose items have these types: decimals differ in their digits."""
    if kinds[0].kind is not Kind.DECIMAL:
        return next((kind for kind in kinds if kind.kind is Kind.TIMESTAMP_TZ), kinds[0])
    scale = max(kind.scale for kind in kinds)
    return decimal(min(38, scale + max(kind.precision - kind.scale for kind in kinds)), scale)


def _type_of(value: object) -> Type:
    match value:
        case bool():
            return BOOLEAN
        case int():
            return BIGINT
        case float():
            return DOUBLE
        case Decimal() as number:
            scale = max(0, -int(number.as_tuple().exponent))
            digits = len(number.as_tuple().digits) + max(0, int(number.as_tuple().exponent))
            return decimal(max(digits, scale, 1), scale)
        case dt.datetime() as moment:
            return Type(Kind.TIMESTAMP_TZ) if moment.tzinfo is not None else TIMESTAMP
        case dt.date():
            return DATE
        case _:
            return TEXT


def _bindable(value: object) -> object:
    return f"{value:f}" if isinstance(value, Decimal) else value
