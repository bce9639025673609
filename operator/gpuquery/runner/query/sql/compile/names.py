"""Names of columns while a query runs: the author's as far as they go, each once in a frame, the same in every process.

Ranks compare their plans, so that nothing here may be random or depend on what was compiled before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def unique_names(wanted: Iterable[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return names as much as possible like those wanted, each different from the others and from those taken."""
    wanted = tuple(wanted)
    used = {*taken}
    found = []
    for name in wanted:
        new, number = name, 1
        while new in used:
            number += 1
            new = f"{name}_{number}"
        used.add(new)
        found.append(new)
    return tuple(found)


def unique_name(hint: str, taken: Collection[str]) -> str:
    """Return a name for a column that is needed on the way only."""
    return unique_names([hint], taken)[0]
