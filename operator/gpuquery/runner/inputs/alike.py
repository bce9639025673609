"""Which parquet files have the same schema, from their footers, so that only one of each schema is parsed.

Files of one schema begin their metadata with the same bytes, and carry the same Arrow schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner import stores
from gpuquery.runner.parquet import counts, elements, footer
from gpuquery.runner.parquet.footer import NotParquetError
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.failures.errors import JobError
    from gpuquery.runner.inputs.base import File

Mark = tuple[bytes, bytes]
"""What the metadata of files of one schema have alike."""


@dataclass(frozen=True)
class Alike:
    """What the footers of some files say."""

    marks: Mapping[str, Mark]
    """The mark of each file, by its place."""
    firsts: Mapping[Mark, tuple[str, bytes]]
    """The first file of each mark and its tail, in the order of the files."""
    rows: Mapping[str, int]
    """Rows of each file, by its place."""


def alike(
    files: Sequence[File], access: StoreAccess, broken: Callable[[str, bytes, NotParquetError], JobError]
) -> Alike:
    """Read the footers of files. Raises JobError: of the store, or what `broken` makes of a place, its tail and why."""
    marks: dict[str, Mark] = {}
    firsts: dict[Mark, tuple[str, bytes]] = {}
    rows: dict[str, int] = {}
    begins: dict[bytes, counts.Counts] = {}
    order = {file.uri: at for at, file in enumerate(files)}

    def take(uri: str, tail: bytes) -> None:
        try:
            meta = footer.metadata(tail)
            begin = next((one for one in begins if meta.startswith(one)), None)
            if begin is None:
                begin = elements.begin(meta)
                begins[begin] = counts.Counts(meta, begin)
            rows[uri] = begins[begin].rows(meta)
        except NotParquetError as exc:
            raise broken(uri, tail, exc) from None
        mark = marks[uri] = begin, elements.arrow_schema(meta)
        # Tails come in the order in which the store answers; the first file of each schema is the same every time.
        if mark not in firsts or order[uri] < order[firsts[mark][0]]:
            firsts[mark] = uri, tail

    each_tail([file.uri for file in files], {file.uri: file.bytes for file in files}, stores.Everywhere(access), take)
    return Alike(marks, dict(sorted(firsts.items(), key=lambda pair: order[pair[1][0]])), rows)
