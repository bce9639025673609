"""Sizing: from the data that a query reads and holds to pods, GPUs and the engine's partitions.

Pure. Memory decides first: the data that joins, sorts and groups hold must fit into half of the GPUs' memory; the other
half is for partitions in flight. Then time: no GPU gets more to read than it can in about ten minutes. All sizes have a
minimum and a maximum, and one sentence gives the reasons.

Two numbers are assumptions that this project did not measure: the share of a GPU's memory that can be held
(`HELD_SHARE`; the releases begin to spill at 50 % or 80 %), and the speed at which one GPU reads from an object store
(`READ_BYTES_PER_SECOND`). The bounds of `target_partition_size` and the reads in flight are the releases' own, from
their table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import ClusterChoice, EngineChoice

if TYPE_CHECKING:
    from gpuquery.api.status import PreflightStatus
    from gpuquery.plan.releases import Option, Release

HELD_SHARE = 0.5
"""Share of a GPU's memory for what blocking steps hold."""
READ_BYTES_PER_SECOND = 1_000_000_000
"""Bytes in memory that one GPU reads per second from an object store: an assumption."""
READ_SECONDS = 600
"""Time in which the GPUs should read the input."""
PARTITIONS_PER_GPU = 4
"""Minimum number of partitions for a GPU, so that reading and computing overlap."""
SMALLEST_PARTITION = 64 << 20
"""Minimum bytes of a partition after retries: smaller kernels leave a GPU idle."""
LEAST_PARTITION = 100_000_000
"""Minimum bytes of a partition for small data, if the release has no minimum."""
READS = ("max_io_threads", "max_concurrent_io_tasks")
"""Names of the option for reads in flight, in different releases."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of sizing."""

    release: Release
    """RAPIDS release."""
    engine: EngineChoice
    """`auto` if not chosen yet: pods and GPUs do not depend on it, unless it is `cpu`."""
    cluster: ClusterChoice = ClusterChoice.AUTO
    """`auto` lets sizing choose the shape."""
    gpu_memory: int
    """Bytes of memory of one GPU."""
    replicas: int | None = None
    """Requested pods; None: as many as the data needs."""
    gpus: int | None = None
    """Requested GPUs in each pod; None: as many as the data needs, up to `max_gpus`."""
    max_replicas: int = 1
    """Maximum pods of a job."""
    max_gpus: int = 1
    """Maximum GPUs of a pod if `gpus` is None."""
    out_of_memory: int = 0
    """Earlier attempts that ended with GpuOutOfMemory; each halves the partitions."""


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """The decision."""

    cluster: ClusterChoice
    """single, or distributed for more than one GPU."""
    replicas: int
    """Pods."""
    gpus: int
    """GPUs in each."""
    target_partition_size: int | None
    """Bytes of a partition; None with the engine cpu."""
    io_tasks: int | None
    """Reads in flight on each GPU; None if the release or the engine has no such limit."""
    why: str
    """One sentence for `status.plan.sizing`."""


def size(found: PreflightStatus | None, limits: Limits) -> Sizing:
    """Decide sizes from the results of the preflight; `found` is None if nothing is known about the data.

    Raises ValueError for invalid limits.
    """
    if limits.engine is EngineChoice.CPU:
        return Sizing(
            cluster=ClusterChoice.SINGLE, replicas=1, gpus=0, target_partition_size=None, io_tasks=None,
            why=f"one pod without GPU; {_known(found)}",
        )  # fmt: skip
    _check(limits)
    wanted, because = gpus_wanted(found, limits.gpu_memory)
    replicas, gpus = _pods(wanted, limits)
    total = replicas * gpus
    if limits.cluster is ClusterChoice.AUTO:
        limits = replace(limits, cluster=ClusterChoice.DISTRIBUTED if total > 1 else ClusterChoice.SINGLE)
    io_bound = found is not None and found.io_bound
    partition = partition_size(limits, io_bound=io_bound, share=found.input_bytes / total if found else None)
    words = [_known(found), because, _got(wanted, total, limits), f"partitions of {_amount(partition)}"]
    if limits.out_of_memory:
        words.append(f"halved {_times(limits.out_of_memory)} after the GPU's memory ran out")
    return Sizing(
        cluster=limits.cluster,
        replicas=replicas,
        gpus=gpus,
        target_partition_size=partition,
        io_tasks=io_tasks(limits, io_bound=io_bound),
        why="; ".join(word for word in words if word),
    )


def gpus_wanted(found: PreflightStatus | None, gpu_memory: int) -> tuple[int, str]:
    """GPUs that the data needs, without any limit, and why."""
    if found is None:
        return 1, ""
    held = _ceil(found.peak_bytes, int(gpu_memory * HELD_SHARE))
    read = _ceil(found.input_bytes, READ_BYTES_PER_SECOND * READ_SECONDS)
    if max(held, read) <= 1:
        return 1, "one GPU is enough"
    if held >= read:
        return held, f"{held} GPUs of {_amount(gpu_memory)} hold the working set in half of their memory"
    return read, f"{read} GPUs read it in about {READ_SECONDS // 60} minutes"


def partition_size(limits: Limits, *, io_bound: bool, share: float | None = None) -> int:
    """Bytes of a partition: the release's default, less for I/O-bound queries, for small data and on retry.

    `share` is what one GPU reads, in bytes; None if unknown.
    """
    least, default, most = partition_bounds(limits)
    # Half the size keeps twice as many partitions in flight in the same memory.
    wanted = default / 2 if io_bound else float(default)
    if share is not None:
        wanted = min(wanted, share / PARTITIONS_PER_GPU)
    return halved(int(min(max(wanted, least), most)), limits.out_of_memory)


def halved(size: int, times: int) -> int:
    """Return a partition size halved so many times, but not below 64 MiB; a smaller size does not change."""
    return max(min(SMALLEST_PARTITION, size), size >> min(times, 62))


def partition_bounds(limits: Limits) -> tuple[int, int, int]:
    """Minimum, default and maximum bytes of a partition in a release, on the cluster shape of `limits` (never
    auto).

    If the release has no minimum, ours is 100 MB, or the default of a very small GPU.
    """
    rule = limits.release.partitions
    cell = limits.release.cells.get((limits.engine, limits.cluster))
    share = cell.partition_share if cell is not None and cell.partition_share is not None else rule.share
    default = min(max(int(limits.gpu_memory * share), rule.least or 1), rule.most)
    return min(LEAST_PARTITION, default) if rule.least is None else rule.least, default, rule.most


def io_tasks(limits: Limits, *, io_bound: bool) -> int | None:
    """Reads in flight on each GPU: the release's default for object stores, doubled for I/O-bound queries.

    None if the release has no such option for this engine.
    """
    option = _reads(limits.release)
    if option is None or limits.engine not in option.engines:
        return None
    # One number, or one for remote files and one for local files.
    default = int(option.fields["remote"].default if option.fields else option.default)
    return default * 2 if io_bound else default


def options(sizing: Sizing, release: Release) -> dict[str, Any]:
    """Executor options for a sizing, under the names of a release; the user's options override them."""
    out: dict[str, Any] = {}
    if sizing.target_partition_size is not None:
        out["target_partition_size"] = sizing.target_partition_size
    option = _reads(release)
    if sizing.io_tasks is not None and option is not None:
        out[option.name] = sizing.io_tasks
    return out


def _reads(release: Release) -> Option | None:
    return next((release.options[name] for name in READS if name in release.options), None)


def _check(limits: Limits) -> None:
    for name in ("gpu_memory", "max_replicas", "max_gpus"):
        if getattr(limits, name) < 1:
            raise ValueError(f"{name} is {getattr(limits, name)}: it must be at least 1 with a GPU engine")
    for name in ("replicas", "gpus"):
        if (given := getattr(limits, name)) is not None and given < 1:
            raise ValueError(f"{name} is {given}: a GPU engine needs at least 1")


def _pods(wanted: int, limits: Limits) -> tuple[int, int]:
    """Spread GPUs over pods: full pods first, since GPUs of one pod reach each other fastest."""
    if limits.cluster is ClusterChoice.SINGLE:
        return 1, 1
    gpus = limits.gpus
    if gpus is None:
        # Nodes have 1, 2, 4 or 8 GPUs; a pod with another number leaves some of them unused.
        pod = _ceil(wanted, limits.replicas or 1)
        gpus = min(limits.max_gpus, 1 << (pod - 1).bit_length())
    replicas = limits.replicas if limits.replicas is not None else min(limits.max_replicas, _ceil(wanted, gpus))
    return replicas, gpus


def _known(found: PreflightStatus | None) -> str:
    if found is None:
        return "the size of the data is not known"
    held = f", {_amount(found.peak_bytes)} to hold" if found.peak_bytes else ""
    basis = f" ({found.basis})" if found.basis else ""
    return f"{_amount(found.input_bytes)} in memory to read{held}{basis}"


def _got(wanted: int, total: int, limits: Limits) -> str:
    if total >= wanted or limits.cluster is ClusterChoice.SINGLE:
        return ""
    given = limits.replicas is not None
    return f"the spec asks for {total}" if given else f"at most {total} are allowed"


def _ceil(amount: int, unit: int) -> int:
    return max(1, -(-amount // max(1, unit)))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _amount(amount: float) -> str:
    for unit, scale in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if amount >= scale:
            return f"{amount / scale:.3g} {unit}"
    return f"{amount / 1000:.3g} kB"
