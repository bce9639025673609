"""How much longer a GpuQueryJob takes than the same container run as a bare Job.

Both run the same image, plan and one-second query, in turns. The bare Job is the operator's own child, copied with a
UID of its own so that it commits for itself. The clock runs from the call of `kubectl apply` until `kubectl wait` sees
the object finished.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
import uuid
from typing import Any

from tests.bench.setting import conditions, prepared
from tests.e2e.jobs import Bench, fresh, tpch

QUERY = """
import time

def query(inputs, params):
    time.sleep(1)
    return inputs["nation"]
"""


def wait(bench: Bench, what: str, condition: str) -> None:
    """Wait with kubectl's own watch."""
    command = bench.cluster.command(
        "wait", what, f"--for=condition={condition}", "-n", bench.namespace, "--timeout=120s"
    )
    subprocess.run(command, check=True, capture_output=True, env=bench.cluster.env(), timeout=130)


def ours(bench: Bench) -> tuple[float, str]:
    """Run one GpuQueryJob; returns seconds and its name."""
    name = fresh("bench")
    document = bench.job(name, python=QUERY, inputs=tpch("nation"))
    began = time.monotonic()
    bench.apply(document)
    wait(bench, f"gqj/{name}", "Complete")
    return time.monotonic() - began, name


def bare(bench: Bench, like: str) -> float:
    """Run the child Job of a finished GpuQueryJob again, without the operator; returns seconds."""
    selector = ("-n", bench.namespace, "-l", f"gpuquery.io/job={like}")
    job, plan = (bench.cluster.get(kind, *selector)["items"][0] for kind in ("jobs", "configmaps"))
    name = fresh("bare")
    document = json.loads(plan["data"]["plan.json"])
    document["job"]["uid"] = str(uuid.uuid4())
    document["output"]["uri"] = f"s3://lake/out/{name}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"plan.json": json.dumps(document)},
    }
    template: dict[str, Any] = job["spec"]["template"]
    template["metadata"] = {"labels": {"app": name}}
    for volume in template["spec"]["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = name
    template["spec"].pop("subdomain", None)
    keep = ("parallelism", "completions", "completionMode", "backoffLimit")
    spec = {"template": template, **{k: job["spec"][k] for k in keep}}
    copy = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
    began = time.monotonic()
    bench.cluster.apply(config, copy, namespace=bench.namespace)
    wait(bench, f"job/{name}", "Complete")
    took = time.monotonic() - began
    bench.cluster.run("delete", f"job/{name}", f"configmap/{name}", "-n", bench.namespace, "--wait=false")
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with prepared() as bench:
        ours(bench)
        pairs = []
        for _ in range(arguments.rounds):
            seconds, name = ours(bench)
            pairs.append((seconds, bare(bench, name)))
    mine, theirs = (statistics.median(x) for x in zip(*pairs, strict=True))
    result = {
        "bench": "overhead",
        "gpuqueryjob_seconds": round(mine, 2),
        "bare_job_seconds": round(theirs, 2),
        "ratio": round(mine / theirs, 3),
        "pairs": [[round(a, 2), round(b, 2)] for a, b in pairs],
        **conditions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
