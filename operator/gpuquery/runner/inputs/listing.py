"""Find the files of an input: folders, globs and lists of them, on every store by the same rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Listed

if TYPE_CHECKING:
    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess


def listed(item: Input, access: StoreAccess) -> Listed:
    """List the files of an input. Raises JobError, or what Polars raises."""
    found: list[str] = []
    for uri in item.places:
        options = stores.scan_options(access, uri)
        frame = pl.scan_ndjson(stores.of(uri).source(uri), schema={"x": pl.String}, storage_options=options)
        frame.collect_schema()
        found += [str(path) for path in frame._ldf.visit().view_current_node().paths]
    paths = list(dict.fromkeys(found))
    sizes = stores.files(paths[0], access).sizes(paths) if paths else {}
    return Listed(tuple(File(path, sizes[path]) for path in paths))
