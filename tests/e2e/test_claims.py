"""What a user's pod says about itself, on a real cluster: checked, told as its word, and seen as it is."""

from __future__ import annotations

from tests.e2e.jobs import Bench, condition, fresh
from tests.support.forgery import RAISING, committed, forging


def test_a_forged_report_ends_its_job_and_claims_nothing_that_is_not_its_own(bench: Bench) -> None:
    large, theirs, paints = fresh("large"), fresh("theirs"), fresh("paints")
    queries = {
        large: forging(committed(f"s3://lake/out/{large}/data/", rows=10**30)),
        theirs: forging(committed("s3://lake/marts/revenue/data/")),
        paints: RAISING,
    }
    bench.apply(*(bench.job(name, python=query, backoffLimit=0) for name, query in queries.items()))
    ends = {name: bench.ended(name) for name in queries}
    failed = {name: condition(job, "Failed") for name, job in ends.items()}
    assert all(found and found["status"] == "True" for found in failed.values())
    assert "committed.rows is 1000000000000000000000000000000" in failed[large]["message"]
    assert f"and this job writes s3://lake/out/{theirs}/data/" in failed[theirs]["message"]
    for job in ends.values():
        assert "output" not in job["status"]
        assert condition(job, "OutputCommitted")["status"] == "False"
    shown = bench.cluster.run("describe", "gqj", paints, "-n", bench.namespace)
    assert "all is well" in shown and not {"\x07", "\x9b", "\u202e"} & set(shown)
    assert not [line for line in shown.splitlines() if line.strip().startswith(("State: Complete", "Message: done"))]
