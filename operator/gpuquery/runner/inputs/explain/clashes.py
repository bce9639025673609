"""Two files of one input whose schemas clash: blamed only if the error speaks of exactly the column that differs."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from gpuquery.runner.inputs.explain.text import bounded, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Reading

    Resolver = Callable[[Input, Sequence[File], StoreAccess], Reading]

MAX_COMPARED = 1000
"""Files whose schemas are compared to find the two that clash."""
_MAX_COLUMNS = 5
_CLASHES = re.compile(
    r"extra column in file|data type mismatch for column|did not find column|schema names differ|schema lengths differ"
    r"|All sources must have the same schema|mismatched SchemaElement"
)
_NAMELESS = re.compile(r"schema names differ|schema lengths differ|All sources must|mismatched SchemaElement")


def told(words: str, item: Input, files: Sequence[File], access: StoreAccess, resolver: Resolver) -> str | None:
    """Name the first two files that differ in the column of which the error speaks; None if no two do."""
    if not _CLASHES.search(words) or len(files) < 2:
        return None
    with contextlib.suppress(Exception):
        first = resolver(item, files[:1], access).schema
        for file in files[1:MAX_COMPARED]:
            other = resolver(item, (file,), access).schema
            if found := _differences(first, other, words):
                return bounded(
                    f'input "{item.name}": the files do not have the same columns: {short(files[0].uri)} and '
                    f"{short(file.uri)} differ in {found}; read them as two inputs"
                )
    return None


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], words: str) -> str:
    """Columns that differ, if the words name one of them, or none at all; empty otherwise."""
    names = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    spoken = [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)]
    if not spoken and not _NAMELESS.search(words):
        return ""
    names = [*spoken, *(name for name in names if name not in spoken)]
    parts = [f'"{name}" ({a.get(name, "absent")} and {b.get(name, "absent")})' for name in names]
    more = f" and {len(parts) - _MAX_COLUMNS} more" if len(parts) > _MAX_COLUMNS else ""
    return ", ".join(parts[:_MAX_COLUMNS]) + more
