"""Find out which execution models this machine or image can run, and pick one for an amount of data.

    python examples/execution_model_selection.py --data 300GB
    python examples/execution_model_selection.py --data 300GB --gpus 8      # as if it had eight GPUs

It needs the package `gpuquery` and looks at what is installed beside it: the RAPIDS release, the packages that a
cluster of it needs, and the GPUs. Prints every combination with the reason why it is or is not possible, best first,
then the fields for a GpuQueryJob. Exit code 0, or 2 if an argument is wrong.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import guide, releases

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
ORDER = (
    (EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED),
    (EngineChoice.TASKS, ClusterChoice.DISTRIBUTED),
    (EngineChoice.RAPIDSMPF, ClusterChoice.SINGLE),
    (EngineChoice.TASKS, ClusterChoice.SINGLE),
    (EngineChoice.CPU, ClusterChoice.SINGLE),
)
"""From the largest data to the smallest: what comes first is tried first, the last one always runs."""
NEEDED = {releases.Way.DASK: ("distributed", "dask_cuda", "distributed_ucxx"), releases.Way.SPMD: ("rapidsmpf", "ucxx")}
"""Modules that a way of driving several processes imports."""


def installed_release() -> str | None:
    """Return the RAPIDS release of cudf-polars, such as 26.10, or None."""
    for found in distributions():
        if re.fullmatch(r"cudf[-_]polars[-_]cu\d+", found.metadata["Name"] or ""):
            year, month, *_ = found.version.split(".")
            return f"{year}.{int(month):02d}"
    return None


def gpus_here() -> int:
    """Return the number of GPUs that the driver's own tool lists."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0


def obstacle(engine: EngineChoice, cluster: ClusterChoice, release: str | None, gpus: int) -> str:
    """Say why a combination cannot be run here; empty if it can."""
    if engine is EngineChoice.CPU:
        return ""
    known = releases.find(release) if release else None
    if known is None:
        return f"release {release} is not known" if release else "cudf-polars is not installed"
    cell = known.cells[engine, cluster]
    if cell.way is None:
        others = releases.runnable(engine, cluster)
        return f"{cell.because} (runs in {', '.join(others) or 'none'})"
    missing = [name for name in NEEDED.get(cell.way, ()) if find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    least = 2 if cluster is ClusterChoice.DISTRIBUTED else 1
    return f"needs {least} GPUs or more, there are {gpus}" if gpus < least else ""


def candidates(size: int, release: str | None, gpus: int) -> Iterator[tuple[EngineChoice, ClusterChoice, str]]:
    """Yield every combination and what speaks against it here, for this amount of data; the best first."""
    advice = guide.advise(size)
    for engine, cluster in ORDER:
        against = obstacle(engine, cluster, release, gpus)
        if not against and engine is not EngineChoice.CPU and not advice.gpu:
            against = f"{guide.amount(size)} are better off on the CPU: {advice.because}"
        if not against and cluster is ClusterChoice.DISTRIBUTED and advice.cluster is ClusterChoice.SINGLE:
            against = f"{guide.amount(size)} need one GPU only: {advice.because}"
        yield engine, cluster, against


def bytes_of(text: str) -> int:
    """Read 300GB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of data: write a number and MB, GB or TB")
    return int(float(found[1]) * UNITS[found[2]])


def main() -> None:
    """Print what is possible, and the choice."""
    parser = argparse.ArgumentParser(description="Pick an execution model for an amount of data.")
    parser.add_argument("--data", type=bytes_of, required=True, help="data in memory that the query reads: 300GB")
    parser.add_argument("--gpus", type=int, help="number of GPUs; left out: those of this machine")
    args = parser.parse_args()
    release = installed_release()
    gpus = gpus_here() if args.gpus is None else args.gpus
    print(f"# release {release or 'none'}, {gpus} GPUs, {guide.amount(args.data)} of data")
    found = list(candidates(args.data, release, gpus))
    for engine, cluster, against in found:
        print(f"# {engine} x {cluster}: {against or 'possible'}")
    engine, cluster = next((e, c) for e, c, against in found if not against)
    print(f"engine: {engine}\ncluster: {cluster}")
    if engine is not EngineChoice.CPU:
        used = gpus if cluster is ClusterChoice.DISTRIBUTED else 1
        print(f'runtime: {{release: "{release}"}}\nworkers: {{replicas: 1, gpus: {used}}}')


if __name__ == "__main__":
    main()
