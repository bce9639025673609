"""Handover: what a preflight has resolved, and an attempt takes over where nothing has changed since.

A job may wait for its GPUs for hours. So the files are listed again, which is cheap; footers are not read again, and
nothing is inferred again. A snapshot of a table has the same files for ever, so these are only looked at: somebody may
have deleted one. What has changed is resolved anew, and so is everything that cannot be read or looked at: that tells
why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import later
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import changes, keys, listing
from gpuquery.runner.inputs.resolve import THREADS, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Resolved


_MAKER = f"Polars {pl.__version__}"
"""Releases of Polars have other types, and the plan of a job, or its image, may change before an attempt."""


def left(resolved: Mapping[str, Resolved]) -> str:
    """Write down what `taken` reads."""
    return f"{_MAKER}\n{to_json(resolved)}"


def taken(
    text: str,
    items: Sequence[Input],
    access: StoreAccess,
    snapshots: Mapping[str, str],
    log: Callable[[str], None],
) -> dict[str, Resolved]:
    """Return the inputs that are still as a preflight wrote them down, by name; raises nothing.

    `snapshots` are those that tables are to be read at. `log` gets a line for each input that has changed.
    """
    maker, _, body = text.partition("\n")
    if maker != _MAKER:
        log(f"the inputs that the preflight has left are not those of {_MAKER}: they are resolved anew")
        return {}
    try:
        known = from_json(body, items)
    except Exception as exc:  # another release of the image wrote it
        log(f"the inputs that the preflight has left cannot be read ({type(exc).__name__}): they are resolved anew")
        return {}

    def still(item: Input) -> Resolved | None:
        one = known[item.name]
        try:
            if item.table is None and item.delta is None:
                found = listing.listed(item, access)
                files, unread = keys.filled(item, found.files)
                why = _difference(one.files, files)
                one = replace(one, warnings=tuple(dict.fromkeys((*found.warnings, *unread, *one.warnings))))
            elif snapshots.get(item.name, one.snapshot) != one.snapshot:
                why = f"it has {one.snapshot}, and {snapshots[item.name]} is to be read"
            else:
                one.reading.unlock(item, access)
                why = changes.changed({item.name: one}, access) or ""
        except JobError:
            why = "it cannot be looked at"
        if why:
            log(f'input "{item.name}" is not as the preflight has left it, and is resolved anew: {why}')
        return None if why else one

    found = later.each(still, items, THREADS)
    return {one.item.name: one for one in found if one is not None}


def _difference(before: Sequence[File], now: Sequence[File]) -> str:
    """Say which files have come, gone or changed; empty if none has. A size alone does not show that."""
    then, there = ({file.uri: (file.bytes, file.version) for file in files} for files in (before, now))
    told = [
        f"{uri} {'has come' if uri not in then else 'is gone' if uri not in there else 'has changed'}"
        for uri in sorted(then.keys() | there.keys())
        if then.get(uri) != there.get(uri)
    ]
    if told:
        return told[0] + (f", and {len(told) - 1:,} more files differ" if len(told) > 1 else "")
    unknown = next((file.uri for file in now if not file.version), "")
    return f"its server tells no version of {unknown}" if unknown else ""
