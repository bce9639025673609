"""Part files of a Dask cluster: no row twice.

The workers name them `part.<number>.parquet` (the engine tasks) or `part.<rank>.<number>.parquet`
(`cudf_polars/experimental/io.py` and `experimental/rapidsmpf/io.py` in 26.04, `streaming/actor_graph/io.py` from 26.06
on). Up to 26.08 every rank of rapidsmpf writes a result that it holds in full (cudf#23525): there no file is handed
over before all are written and compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuquery.plan.releases import cell_of
from gpuquery.runner.engines import replicated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpuquery.plan.plan import Plan

_RANK = re.compile(r"part\.(\d+)\.\d+\.parquet")


def each_once(plan: Plan) -> bool:
    """Whether the release writes a result once that every worker holds in full."""
    cell = cell_of(plan.release, plan.engine, plan.cluster)
    return cell is not None and cell.replicated_safe


def written(folder: Path) -> list[list[Any]]:
    """Describe the files of each rank in a folder, as it goes through a gate."""
    ranks: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.parquet")):
        found = _RANK.fullmatch(file.name)
        ranks.setdefault(found[1] if found else "", []).append(file)
    return [replicated.written(None, files).to_json() for files in ranks.values()]


def refuse_doubled(told: Sequence[Sequence[Any]], release: str) -> None:
    """Raise JobError(InvalidCombination) if all of several ranks have written the same rows."""
    if len(told) > 1:
        replicated.keeps(replicated.read(told), 0, release)
