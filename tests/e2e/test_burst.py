"""Many jobs at once."""

from __future__ import annotations

import pytest

from tests.e2e.jobs import Bench, fresh, tpch, true
from tools.kubectl import wait_until


@pytest.mark.alone
@pytest.mark.parametrize("count", [25, pytest.param(100, marks=pytest.mark.faults)])
def test_many_jobs_applied_at_once_all_commit(bench: Bench, count: int) -> None:
    prefix = fresh("burst")
    # Ten or so fit on the node at a time; the others wait for their turn in the scheduler, as on a real cluster.
    resources = {"requests": {"cpu": "150m", "memory": "200Mi"}}
    documents = [
        bench.job(
            f"{prefix}-{n}",
            sql="SELECT n_name, n_regionkey FROM nation WHERE n_nationkey <> :nation",
            parameters={"nation": {"integer": n}},
            inputs=tpch("nation"),
            workers={"resources": resources},
            startDeadlineSeconds=1200,
        )
        for n in range(count)
    ]
    bench.apply(*documents)

    def ended() -> list[dict[str, object]]:
        jobs = [
            j
            for j in bench.cluster.get("gqj", "-n", bench.namespace)["items"]
            if j["metadata"]["name"].startswith(prefix)
        ]
        done = [j for j in jobs if true(j, "Complete") or true(j, "Failed")]
        return done if len(done) == count else []

    jobs = wait_until(ended, timeout=900, what="all jobs to end", every=2)
    failed = [j["status"]["conditions"] for j in jobs if not true(j, "Complete")]
    assert not failed, failed[0]
    assert {j["status"]["output"]["rows"] for j in jobs} <= {24, 25}
    assert len([k for k in bench.keys(f"out/{prefix}-") if "/_commits/" in k and k.endswith(".json")]) == count
    assert bench.uploads(f"out/{prefix}-") == []
