"""What a plan is compiled for. What a RAPIDS release can translate is data, never a guess."""

from __future__ import annotations

from dataclasses import dataclass


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


CPU = Target()
