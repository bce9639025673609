"""Credentials that a catalog vends with a table: whether they are used, for which files, and how they are renewed.

A Secret of the job wins over them, unless the catalog has the option `header.x-iceberg-access-delegation:
vended-credentials`. https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml (LoadTableResult)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.catalogs import DELEGATION
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import catalogs, files
from gpuquery.runner.stores import endpoint, vended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog

_PATHS = ("write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path")
"""Properties of a table that put its files elsewhere."""
VENDED = "vended-credentials"


def begin(catalog: Catalog, metadata: Any) -> tuple[str, ...]:
    """Read a table's files with what has come with it, if that is to be used; returns the places that it is for.

    Raises JobError: StorageAuth where credentials have to be vended and are not, InvalidEndpoint.
    """
    told = catalog.vended
    root = files.place(metadata.location)
    asked = VENDED in catalog.options.get(DELEGATION, "")
    found = told.keys(root)
    if not asked and (found is None or vended.owns(root)):
        return ()
    if found is None:
        raise JobError(
            Failure.STORAGE_AUTH,
            f"the catalog vends no credentials for {root}, though its option {DELEGATION} asks for them: have it vend "
            "some, or remove the option and name a Secret in storage.secretName",
        )
    if url := found.told.get("s3.endpoint"):
        endpoint.answers(url, "the s3.endpoint that the catalog vends")
    elsewhere = [files.place(path) for name in _PATHS if (path := metadata.properties.get(name))]
    # A prefix without a path is a whole bucket, in which other inputs may lie.
    deep = [prefix for prefix in told.places if prefix.partition("://")[2].rstrip("/").count("/")]
    places = tuple(dict.fromkeys(one.rstrip("/") for one in (root, *elsewhere, *deep) if told.keys(one.rstrip("/"))))
    lease = _lease(catalog)
    lease.take(told)
    vended.register(places, lease)
    return places


def join(item: Input, access: StoreAccess, places: Sequence[str]) -> None:
    """Ask for the credentials of these places when they are needed, in a process that has not loaded the table."""
    if places and not vended.leased(places):
        vended.register(places, _lease(catalogs.Catalog(catalogs.Asked.of(item), access)))


def _lease(catalog: Catalog) -> vended.Lease:
    def ask() -> vended.Vended:
        catalog.load()
        return catalog.vended

    return vended.Lease(f'table {catalog.asked.table} of catalog "{catalog.asked.catalog}"', ask)
