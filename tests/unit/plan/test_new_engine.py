"""An engine is added by its rows in one file: a made-up one is planned, refused and explained without any other edit.

It also needs its folder in `runner/engines` and its entry point, which `test_engines.py` tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpuquery
from tools.kubectl import ROOT

TABLE = "plan/releases/table.py"
BEFORE = "    TASKS_SINGLE: _NO_TASKS,\n"
ROWS = """\
    (EngineChoice("warp"), ClusterChoice.SINGLE): Cell(way=Way.GPU_ENGINE, partition_share=0.01),
    (EngineChoice("warp"), ClusterChoice.DISTRIBUTED): Cell(way=None, because="it knows one GPU"),
"""
"""What 26.06 and later run of it."""
GENERATE = "from tools import choices; print(choices.module(), end='')"
ASK = """
import json, sys
from pydantic import ValidationError
from gpuquery.api.status import GpuQueryJobStatus, PreflightStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.resolve import Rejected, plan_status, resolve

FOUND = PreflightStatus(polars="1", input_bytes=30 * 10**9, peak_bytes=10**9, io_bound=False, basis="footers")
BODY = {"query": {"python": "def query(inputs, params): ..."}, "output": {"uri": "s3://lake/out"}}
METADATA = {"name": "j", "namespace": "n", "uid": "u"}

def asked(spec, annotations=None):
    defaults = Defaults(runtime_image_pattern="rt:{release}").in_namespace(annotations)
    try:
        job = GpuQueryJob.model_validate({"metadata": METADATA, "spec": BODY | spec})
    except ValidationError as wrong:
        return wrong.errors()[0]["msg"]
    job = job.model_copy(update={"status": GpuQueryJobStatus(preflight=FOUND)})
    plan = resolve(job, defaults)
    if isinstance(plan, Rejected):
        return plan.message
    size = plan.executor_options["target_partition_size"]
    return [plan.engine, plan.cluster, size, plan_status(plan, job, defaults).why]

print(json.dumps([asked(**case) for case in json.load(sys.stdin)]))
"""
OLD = {"runtime": {"release": "26.04"}}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the operator's planning says of each case, with the rows of the engine."""
    folder = tmp_path_factory.mktemp("rows")
    source = Path(gpuquery.__file__).parent
    for room in ("api", "plan"):
        shutil.copytree(source / room, folder / "gpuquery" / room)
    shutil.copy(source / "__init__.py", folder / "gpuquery")
    table = folder / "gpuquery" / TABLE
    text = table.read_text()
    assert text.count(BEFORE) == 1
    table.write_text(text.replace(BEFORE, ROWS + BEFORE))
    path = {"PYTHONPATH": f"{folder}:{ROOT}"}
    words = subprocess.run([sys.executable, "-c", GENERATE], stdout=subprocess.PIPE, text=True, check=True, env=path)
    (folder / "gpuquery/api/engines.py").write_text(words.stdout)
    cases = [case.values[0] for case in CASES]
    told = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps(cases), stdout=subprocess.PIPE, text=True, check=True,
        env=path,
    )  # fmt: skip
    return {json.dumps(case): answer for case, answer in zip(cases, json.loads(told.stdout), strict=True)}


CASES: list[Any] = [
    pytest.param(
        {"spec": {"engine": "warp"}},
        ["warp", "single", 858993459, "warp x single on 26.10, 1 pod x 1 GPU: engine as the spec asks"],
        id="it is planned where it is asked for, with its own sizes",
    ),
    pytest.param(
        {"spec": {"runtime": {"release": "26.10"}}},
        ["rapidsmpf", "single", 1500000000, "rapidsmpf is what RAPIDS 26.10 means by auto"],
        id="auto goes on meaning the one before it",
    ),
    pytest.param(
        {"spec": {"workers": {"gpus": 1}}, "annotations": {"gpuquery.io/default-engine": "warp"}},
        ["warp", "single", 858993459, "engine by the annotation gpuquery.io/default-engine of the namespace"],
        id="a namespace may have it as its default",
    ),
    pytest.param(
        {"spec": {"workers": {"replicas": 2}}, "annotations": {"gpuquery.io/default-engine": "warp"}},
        ["rapidsmpf", "distributed", 1500000000, "where warp (by the annotation"],
        id="which is passed over where it does not fit",
    ),
    pytest.param(
        {"spec": {"engine": "warp", **OLD}},
        'engine "warp" needs a RAPIDS release from 26.06 to 26.10, not 26.04: use engine "tasks" or "rapidsmpf", or a',
        id="a release that lacks it is refused by the API server, with the engines that it has",
    ),
    pytest.param(
        {"spec": {"engine": "rapidsmpf", "runtime": {"release": "25.08"}}},
        'not 25.08: use engine "tasks" or "warp", or a release of that range',
        id="it is a way out for others",
    ),
    pytest.param(
        {"spec": {"engine": "warp"}, "annotations": {"gpuquery.io/default-release": "26.04"}},
        'engine "warp" (spec.engine) x cluster single or distributed cannot run on RAPIDS release 26.04, by the '
        "annotation gpuquery.io/default-release of the namespace: it has no such engine: use one of the releases "
        '"26.06", "26.08", "26.10" in runtime.release',
        id="or by the operator, with the releases that have it",
    ),
    pytest.param(
        {"spec": {"engine": "warp", "cluster": "distributed"}},
        'engine "warp" (spec.engine) x cluster distributed cannot run on RAPIDS release 26.10, the default: it knows '
        'one GPU: use engine "rapidsmpf", which 26.10 runs as distributed, or cluster "single"',
        id="a cluster that it cannot have is refused with what can",
    ),
    pytest.param(
        {"spec": {"engine": "cpu", "network": "tcp"}},
        'remove network, or use engine "tasks", "rapidsmpf" or "warp" with cluster "distributed"',
        id="the CPU's ways out name it",
    ),
    pytest.param(
        {"spec": {"engine": "warped"}}, "'auto', 'tasks', 'rapidsmpf', 'warp' or 'cpu'", id="a typing error names it"
    ),
    pytest.param(
        {"spec": {"engine": "warp", "executorOptions": {"groupby_n_ary": 2}}},
        "executorOptions.groupby_n_ary: 2 is set, but RAPIDS release 26.10 has no option groupby_n_ary",
        id="its options are checked",
    ),
]


@pytest.mark.parametrize(("case", "want"), CASES)
def test_a_made_up_engine(answers: dict[str, Any], case: dict[str, Any], want: str | list[Any]) -> None:
    found = answers[json.dumps(case)]
    if isinstance(want, str):
        assert isinstance(found, str) and want in found
    else:
        assert found[:3] == want[:3] and want[3] in found[3]
