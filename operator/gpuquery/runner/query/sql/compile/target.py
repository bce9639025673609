"""What a plan is compiled for. What a RAPIDS release can translate is data, never a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.plan import releases

if TYPE_CHECKING:
    from gpuquery.plan.releases import SqlOnGpus


@dataclass(frozen=True)
class Target:
    """The CPU, or GPUs with the cudf-polars of one RAPIDS release."""

    release: str | None = None
    """The RAPIDS release, such as `26.10`; None: Polars on the CPU."""
    distributed: bool = False
    """Whether several partitions or ranks share the work: then what Polars runs on one partition is costly."""

    @property
    def gpu(self) -> bool:
        """Whether cudf-polars has to translate the result."""
        return self.release is not None

    @property
    def facts(self) -> SqlOnGpus | None:
        """What the release makes of SQL; None on the CPU. One that is not known counts as the last one before it."""
        return releases.nearest(self.release).sql if self.release is not None else None

    @property
    def full_groups(self) -> bool:
        """Whether groups and partitions of windows take an order, a shift, a product and a count without NULLs."""
        return self.facts is None or self.facts.full_groups


CPU = Target()
