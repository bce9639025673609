"""Files that changed after they were listed: what was read then may be of two states."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import Resolved


def changed(resolved: Mapping[str, Resolved], access: StoreAccess) -> str | None:
    """Return which file was deleted, replaced or written to since it was listed; None if all are as they were."""
    return None
