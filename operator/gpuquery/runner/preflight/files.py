"""How large files are, as they lie in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner import stores
from gpuquery.runner.stores.base import Sized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess


def stored_bytes(paths: Sequence[str], store: StoreAccess, known: Mapping[str, int]) -> int | None:
    """Bytes of all the files; None where it cannot be told."""
    try:
        return sum(Sized(stores.Everywhere(store), known).sizes(paths).values())
    except Exception:
        return None
