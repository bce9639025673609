"""Iceberg tables of REST catalogs: one snapshot, its files, and how each comes to the table's schema.

pyiceberg asks the catalog and reads Avro; it is imported when a job has such an input. What the ranks read is in the
reading's JSON: they ask the catalog for nothing but the credentials that it vends, each for itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.base import Resolved
from gpuquery.runner.inputs.tables.iceberg import files
from gpuquery.runner.inputs.tables.iceberg.reading import OWN, Iceberg
from gpuquery.runner.stores import vended

if TYPE_CHECKING:
    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

__all__ = ["Iceberg", "resolve"]


def resolve(item: Input, access: StoreAccess, pinned: str = "") -> Resolved:
    """Choose a snapshot, or the `pinned` one of an earlier resolution, and find out how its files are read.

    Raises JobError: InvalidInput for what cannot be read exactly, StorageAuth or StorageUnavailable for the catalog or
    the store.
    """
    from gpuquery.runner.inputs.tables.iceberg import catalogs, manifests, plan, snapshots, types, vending

    assert item.table is not None
    catalog = catalogs.Catalog(catalogs.Asked.of(item), access)
    metadata = catalog.load().metadata
    chosen = snapshots.choose(item, metadata, pinned)
    where = f'input "{item.name}" (table {item.table.name} of catalog {item.table.catalog})'
    try:
        places = vending.begin(catalog, metadata)
        table = plan.table_of(metadata, chosen.schema)
        if own := [one.name for one in table.fields if one.name.startswith(OWN)]:
            raise types.UnreadableTypeError(f'column "{own[0]}" has a name that is reserved')
        if key := metadata.properties.get("encryption.key-id"):
            raise types.UnreadableTypeError(f"encrypted tables are not read (encryption.key-id is {key!r})")
        found = (
            manifests.Planned() if chosen.snapshot is None else manifests.planned(chosen.snapshot.manifest_list, access)
        )
        listed, reading = plan.planned(table, found, access)
    except types.UnreadableTypeError as exc:
        raise JobError(Failure.INVALID_INPUT, f"{where}: {exc}") from None
    except JobError as exc:
        why = vended.remark(files.place(metadata.location)) if exc.failure is Failure.STORAGE_AUTH else ""
        raise JobError(exc.failure, f"{where}: {exc.message}{why}") from exc
    return Resolved(item, listed, replace(reading, vended=places), reading.warnings, chosen.pin)
