"""What people name on the command line: the folder of a table, or `CATALOG:NAMESPACE.TABLE` of an Iceberg catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from gpuquery.api.output import TableOutput
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.delta.place import LOG
from gpuquery.runner.output.tables.delta.place import Target

if TYPE_CHECKING:
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog
    from gpuquery.runner.stores.base import Store


def iceberg(name: str, access: StoreAccess) -> Catalog | None:
    """Return the catalog with the table that is named; None for the URI of a folder. Raises InvalidPlan."""
    if "://" in name:
        return None
    catalog, _, table = name.partition(":")
    try:
        told = TableOutput(catalog=catalog.strip(), name=table.strip())
    except ValidationError:
        text = f"{clean(name, 200)!r} is no table: write the URI of a folder (s3://...), or CATALOG:NAMESPACE.TABLE"
        raise JobError(Failure.INVALID_PLAN, text) from None
    from gpuquery.runner.inputs.tables.iceberg import catalogs  # it imports pyiceberg's neighbours
    from gpuquery.runner.output.tables.iceberg.file_io import StoreIO

    asked = catalogs.Asked(told.catalog, told.name, "output", Failure.INVALID_PLAN)
    return catalogs.Catalog(asked, access, StoreIO(access))


def delta(uri: str, access: StoreAccess, store: Store) -> Target | None:
    """Return the Delta table at the root of a store; None if there is no log of one."""
    return None if next(iter(store.list(LOG)), None) is None else Target(uri, access, store)
