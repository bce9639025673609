"""How large files are, as they lie in the store."""

from __future__ import annotations

from collections.abc import Sequence

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.sizing import fetch


def stored_bytes(paths: Sequence[str], store: StoreAccess) -> int | None:
    """Bytes of all the files; None where it cannot be told."""
    try:
        return sum(fetch.files(paths[0], store).sizes(paths).values()) if paths else 0
    except Exception:
        return None
