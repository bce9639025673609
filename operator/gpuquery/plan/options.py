"""Options of the engine, from the pod template's environment and from `executorOptions`, which take precedence.

The plan has all of them, complete and checked, so the release itself need not read the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import EngineChoice
from gpuquery.plan import numbers, releases, sizing
from gpuquery.plan.rejected import Rejected, invalid, together
from gpuquery.plan.select.request import environment, sizes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults
    from gpuquery.plan.plan import Plan

PARTITION = "target_partition_size"
"""Option for the bytes of a partition, which has this name in every release."""


def executor_options(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Mapping[str, Any] | Rejected:
    """Return the executor's options under the release's own names, or their errors."""
    release = releases.find(choice.release)
    if choice.engine is EngineChoice.CPU or release is None:
        return {}
    cell = release.cells[choice.engine, choice.cluster]
    from_environment, wrong = releases.environment_options(
        release, environment(job), engine=choice.engine, cluster=choice.cluster
    )
    own, wrong_too = releases.check_options(release, choice.engine, choice.cluster, job.spec.executor_options)
    problems = (*wrong, *wrong_too)
    both = {**from_environment, **own}
    if not problems and from_environment and own:
        # Only together can the two places contradict each other.
        _, problems = releases.check_options(release, choice.engine, choice.cluster, both)
    # An accepted job keeps its plan, even if this operator's table differs.
    rejected = together(*map(invalid, problems)) if job.status.plan is None else None
    if rejected is not None:
        return rejected
    sizes = numbers.pieces(job, choice, defaults, sizes_of(job), release)
    found = {**sizes, **both, **(cell.options or {})}
    size, failed = both.get(PARTITION), numbers.out_of_memory(job)
    if failed and isinstance(size, int):
        # The size in the job was too large: the same size would fail again.
        found[PARTITION] = sizing.halved(size, failed)
    return found


def halved_partitions(job: GpuQueryJob, plan: Plan) -> int | None:
    """Return the bytes of a plan's partitions if earlier attempts ran out of GPU memory; else None."""
    size = plan.executor_options.get(PARTITION)
    return size if numbers.out_of_memory(job) and isinstance(size, int) else None
