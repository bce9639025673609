"""How long a job takes from its application until all its workers are connected: our job against a DaskJob, in turns.

Both run on the chosen cluster, in real pods of the same image, with workers on the CPU. A DaskJob's runner waits for
the workers as a client and tells when they were there; ours is read from its condition ClusterReady, which comes a
little later. `--only` measures one of the two: ours needs as many (simulated) GPUs as workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.bench.daskjob import OURS, THEIRS, has_dask
from tests.bench.setting import conditions, prepared
from tests.e2e import dask_clusters, sets
from tests.e2e.jobs import Bench, fresh
from tools import dask_kubernetes, demo
from tools.kubectl import Cluster, chosen_cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = "dask-bench"
CLIENT = """
import json, socket, sys, time
from distributed import Client
while True:
    try:
        socket.getaddrinfo(sys.argv[1].split("/")[-1].split(":")[0], None)
        break
    except OSError:  # a UCXX process that once asked for a name that is not known yet never connects (seen with 0.52)
        time.sleep(0.2)
client = Client(sys.argv[1], timeout=300)
client.wait_for_workers(int(sys.argv[2]), timeout=600)
print(json.dumps({"connected": time.time()}), flush=True)
"""


def daskjob(name: str, image: str, *, workers: int, protocol: str) -> dict[str, Any]:
    """Return a DaskJob whose runner tells when all workers were connected."""
    cluster = dask_clusters.document(name, image, workers=workers, protocol=protocol)["spec"]
    pod = json.loads(json.dumps(cluster["worker"]["spec"]))
    address = f"{protocol}://{name}-scheduler:{dask_clusters.PORT}"
    pod["restartPolicy"] = "Never"
    pod["containers"][0] |= {"name": "job", "command": ["python", "-c", CLIENT, address, str(workers)]}
    spec = {"job": {"spec": pod}, "cluster": {"spec": cluster}}
    return {"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskJob", "metadata": {"name": name}, "spec": spec}


def theirs(cluster: Cluster, workers: int, protocol: str) -> float:
    """Run a DaskJob; returns seconds."""
    name = fresh("connect")
    image = cluster.image(f"test-engine-{dask_clusters.RELEASE}-cu{dask_clusters.CUDA}")
    runner = ("pods", "-n", NAMESPACE, "-l", f"dask.org/cluster-name={name},dask.org/component=job-runner")

    def connected() -> float | None:
        pods = cluster.get(*runner)["items"]
        if not pods or pods[0]["status"]["phase"] == "Pending":
            return None
        said = cluster.run("logs", "-n", NAMESPACE, pods[0]["metadata"]["name"], check=False)
        found = [json.loads(line)["connected"] for line in said.splitlines() if line.startswith('{"connected"')]
        if not found and pods[0]["status"]["phase"] == "Failed":
            raise RuntimeError(f"the runner of {name} failed: {said}")
        return found[0] if found else None

    began = time.time()
    cluster.apply(daskjob(name, image, workers=workers, protocol=protocol), namespace=NAMESPACE)
    try:
        # As soon as the runner ends, its cluster is deleted, and the runner's log stays.
        return float(wait_until(connected, timeout=600, what=f"the workers of {name}", every=0.5)) - began
    finally:
        cluster.run("delete", "daskjob", name, "-n", NAMESPACE, "--wait=false")
        gone = ("pods", "-n", NAMESPACE, "-l", f"dask.org/cluster-name={name}")
        wait_until(lambda: not cluster.get(*gone)["items"], timeout=120, what=f"the pods of {name} to go")


def ours(bench: Bench, workers: int) -> float:
    """Run our job; returns seconds."""
    dask: dict[str, Any] = {"dask": {"backend": "native"}} if has_dask() else {}
    began = time.time()
    one = sets.started(bench, pods=workers, env=sets.SLOW, **dask)
    wait = ["wait", f"gqj/{one.name}", "--for=condition=ClusterReady", "-n", bench.namespace, "--timeout=600s"]
    subprocess.run(bench.cluster.command(*wait), check=True, capture_output=True, env=bench.cluster.env(), timeout=630)
    seconds = time.time() - began
    bench.cluster.run("delete", "gqj", one.name, "-n", bench.namespace)
    wait_until(lambda: not bench.pods(one.name), timeout=120, what=f"the pods of {one.name} to go")
    return seconds


def main() -> None:
    """Measure and print one JSON line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--protocol", default="ucx", choices=("ucx", "tcp"))
    parser.add_argument("--only", choices=(OURS, THEIRS))
    arguments = parser.parse_args()
    cluster = chosen_cluster()
    if not cluster.is_one_node:
        raise SystemExit("the times of pods and of this machine are compared, so both must have one clock")
    measures: dict[str, Callable[[int], float]] = {}
    with contextlib.ExitStack() as stack:
        if arguments.only != OURS:
            dask_kubernetes.install(cluster)
            demo.ensure_namespace(cluster, NAMESPACE)
            stack.callback(cluster.run, "delete", "namespace", NAMESPACE, timeout=300)
            measures[THEIRS] = lambda workers: theirs(cluster, workers, arguments.protocol)
        if arguments.only != THEIRS:
            bench = stack.enter_context(prepared())
            measures[OURS] = lambda workers: ours(bench, workers)
        for workers in arguments.workers:
            seconds: dict[str, list[float]] = {name: [] for name in measures}
            for _ in range(arguments.rounds):
                for name, measure in measures.items():
                    seconds[name].append(round(measure(workers), 2))
            medians = {name: round(statistics.median(found), 2) for name, found in seconds.items()}
            line = {"bench": "connected", "workers": workers, "protocol": arguments.protocol, "medians": medians}
            line |= {"our_job": "dask native" if has_dask() else "set of ranks", "seconds": seconds}
            print(json.dumps({**line, **conditions()}), flush=True)


if __name__ == "__main__":
    main()
