"""Contracts: does an input have the columns that the job relies on? Every column that differs is named, not the first.

Types and names are known once the schema is read. Whether a column holds nulls is asked of the data, and only where the
contract says that it must not.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.contract import Contract, ExtraColumns
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.inputs import blamed, dtypes
from gpuquery.runner.preflight import nulls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs import Resolved

MAX_SHOWN = 20


def check(resolved: Mapping[str, Resolved]) -> None:
    """Raise JobError(SchemaMismatch) that names each column of each input whose name or type is not as agreed."""
    given = [(one.item, one.schema) for one in resolved.values()]
    _raise([(item, differences(item.contract, schema)) for item, schema in given if item.contract])


def check_nulls(resolved: Mapping[str, Resolved], store: StoreAccess) -> None:
    """Raise JobError(SchemaMismatch) that names each column that holds nulls and must not."""
    _raise([(one.item, _nulls(one, store)) for one in resolved.values()])


def _raise(found: Sequence[tuple[Input, Sequence[str]]]) -> None:
    broken = []
    for item, phrases in found:
        if phrases:
            more = f"; and {len(phrases) - MAX_SHOWN} more" if len(phrases) > MAX_SHOWN else ""
            shown = "; ".join(phrases[:MAX_SHOWN]) + more
            broken.append(f'input "{item.name}" ({item.shown}) is not what its schema says: {shown}')
    if broken:
        raise JobError(Failure.SCHEMA_MISMATCH, "\n".join(broken))


def check_types(inputs: Sequence[Input]) -> None:
    """Raise JobError(SchemaMismatch) if a contract names a type that does not exist; reads nothing."""
    unknown = []
    for item in inputs:
        for name, column in (item.contract.columns if item.contract else {}).items():
            try:
                dtypes.parse(column.type)
            except dtypes.UnknownTypeError as exc:
                unknown.append(f'inputs[{item.name}].schema.columns[{name}].type: "{column.type}" {exc}')
    if unknown:
        raise JobError(Failure.SCHEMA_MISMATCH, "\n".join(unknown))


def differences(contract: Contract, schema: Mapping[str, pl.DataType]) -> list[str]:
    """One phrase for each column that is missing, of another type, or not in the contract."""
    found = []
    for name, column in contract.columns.items():
        if name not in schema:
            near = difflib.get_close_matches(name, [n for n in schema if n not in contract.columns], n=1)
            hint = f' (there is "{near[0]}")' if near else ""
            found.append(f'column "{name}" is missing: wanted {column.type}{hint}')
        elif not dtypes.fits(schema[name], dtypes.parse(column.type)):
            found.append(f'column "{name}": wanted {column.type}, found {schema[name]}')
    if contract.extra_columns is ExtraColumns.FORBID:
        extra = [name for name in schema if name not in contract.columns]
        found += [f'column "{name}" ({schema[name]}) is not in the schema, which forbids others' for name in extra]
    return found


def _nulls(given: Resolved, store: StoreAccess) -> list[str]:
    """One phrase for each column that holds nulls and must not, with the first file that has one."""
    item = given.item
    columns = [name for name, column in item.contract.columns.items() if not column.nullable] if item.contract else []
    if not columns:
        return []
    try:
        found = nulls.count(given, columns, store)
    except JobError:
        raise
    except (Exception, pl.exceptions.PanicException) as exc:
        doing = f'counting the nulls of input "{item.name}" ({item.shown})'
        broken = blamed(exc, {item.name: given}, store, {item.name: columns})
        raise broken or classify(exc, doing, default=Failure.INVALID_INPUT) from None
    phrases = []
    for name, of_column in found.items():
        where = f" (first in {of_column.file})" if of_column.file else ""
        many = "a null" if of_column.count == 1 else f"{of_column.count:,} nulls"
        phrases.append(f'column "{name}" has {many}{where}: wanted none')
    return phrases
