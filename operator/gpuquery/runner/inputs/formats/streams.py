"""All bytes of one file of text, a few at a time: what is read next is on its way while the rest is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner import later, stores
from gpuquery.runner.inputs.formats import contents
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

WINDOW = 32 << 20
"""Bytes that are read together. As many are on their way."""
STEP = 1 << 20
"""Bytes that are looked at together: few enough for a processor's cache."""
LONGEST = 64 << 20
"""Bytes of one record, after which its end is not looked for any more."""


def pieces(item: Input, file: File, access: StoreAccess, *, csv: bool, quotes: bool = True) -> Iterator[contents.Piece]:
    """Read a whole file as pieces of whole lines. Takes a few hundred MiB of memory at most. Raises JobError.

    `quotes` says whether a line end within quotes ends no line of CSV.
    """
    made = contents.lines(0, _blocks(file, access), csv=csv, quotes=quotes, longest=LONGEST)
    yield from contents.guarded(item, file, made)


def _blocks(file: File, access: StoreAccess) -> Iterator[bytes]:
    there = stores.Everywhere(access)

    def window(start: int) -> list[bytes]:
        end = min(start + WINDOW, file.bytes)
        parts = [Part(file.uri, at, min(at + contents.BLOCK, end)) for at in range(start, end, contents.BLOCK)]
        return there.read(parts, lambda _, data: data)

    ahead = later.Later(lambda: window(0))
    for start in range(WINDOW, file.bytes + WINDOW, WINDOW):
        found = ahead.result()
        if start < file.bytes:
            ahead = later.Later(lambda start=start: window(start))  # type: ignore[misc]
        for data in found:
            yield from (data[at : at + STEP] for at in range(0, len(data), STEP))
