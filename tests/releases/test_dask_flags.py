"""Whether `dask cuda worker` of a release has the flags that GpuQuery gives it; without a GPU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gpuquery.plan.dask import flags
from gpuquery.plan.releases import RELEASES
from gpuquery.runner.engines.dask.owned import commands
from tests.releases.dask_jobs import each, planned, stub
from tests.releases.environments import python_of
from tests.support.engine_ranks import environment

pytestmark = [pytest.mark.releases, pytest.mark.slow]

FLAGS = """
import json
from dask_cuda.cli import worker
print(json.dumps([name for flag in worker.params for name in (*flag.opts, *flag.secondary_opts)]))
"""
VALUES = {
    flags.Kind.SWITCH: (True, False), flags.Kind.COUNT: (1,), flags.Kind.SIZE: ("1GB",),
    flags.Kind.SPILL: ("auto",),
}  # fmt: skip


@pytest.mark.parametrize(("release", "engine"), each())
def test_dask_cuda_worker_has_the_flags_that_a_job_may_set_and_ours(release: str, engine: str) -> None:
    told = subprocess.run(
        [python_of(release), "-c", FLAGS], capture_output=True, text=True, check=True, env=environment(**stub(release))
    )  # fmt: skip
    known = set(json.loads(told.stdout.splitlines()[-1]))
    for name, flag in flags.FLAGS.items():
        taken, _ = flags.checked({name: VALUES[flag.kind][0]}, RELEASES[release])
        if taken:
            written = {flags.arguments({name: value})[0] for value in VALUES[flag.kind]}
            assert written <= known, f"{release} has no such flags"
        elif not flag.allocator:
            assert f"--{name}" not in known, f"{release} has this flag"
    wanted = planned(Path("/nowhere"), release, engine)
    assert wanted.dask is not None
    words = commands.cuda_workers(commands.Workers(wanted, wanted.dask, "ucx://host:1", "pod-0", "/nowhere"))
    assert {word for word in words if word.startswith("--")} <= known
