"""Delta tables as an output in a real S3 server: one commit for each job, whoever dies, races or is not answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.support import delta_runs as runs
from tests.support import sinks
from tests.support.delta_runs import DEATHS, ROWS
from tests.support.faultproxy import Action, Rule

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
SOME = ("when it has its permit", "right after the commit")
"""Deaths that are seen each time; the others belong to the long schedule, and to tables/test_delta.py."""
WANT = sorted(zip(ROWS["k"], ROWS["v"], strict=True), key=str)


class Table:
    """A table, looked at by delta-rs."""

    def __init__(self, seaweed: Seaweed, bucket: str) -> None:
        self.seaweed, self.bucket = seaweed, bucket
        self.uri = f"s3://{bucket}/some lake/orders"
        self.options = {**seaweed.environment, "AWS_ENDPOINT_URL": seaweed.endpoint, "AWS_ALLOW_HTTP": "true"}

    def plan(self, endpoint: str = "", **more: Any) -> Plan:
        given = {"delta": {}, "mode": "append", "partition_by": ["k"], **more}
        return sinks.plan(self.uri.replace(" ", "-"), endpoint=endpoint or self.seaweed.endpoint, **given)

    def open(self) -> DeltaTable:
        return DeltaTable(self.uri.replace(" ", "-"), storage_options=self.options)

    def rows(self) -> list[Any]:
        found = self.open().to_pyarrow_table()
        return sorted(zip(found["k"].to_pylist(), found["v"].to_pylist(), strict=True), key=str)

    def keys(self, folder: str) -> list[str]:
        return self.seaweed.keys(self.bucket, f"some-lake/orders/{folder}")


@pytest.fixture
def table(seaweed: Seaweed, bucket: str) -> Table:
    return Table(seaweed, bucket)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(one, marks=() if one in SOME else pytest.mark.faults) for one in DEATHS],
)
def test_an_attempt_that_is_killed_and_the_next_make_one_commit(table: Table, moment: str) -> None:
    made = table.plan()
    runs.killed(made, table.seaweed.environment, DEATHS[moment])
    committed = bool(table.keys("_delta_log/"))
    assert runs.attempt(sinks.sink(made, 2)) == "version 0"
    assert table.open().version() == 0
    assert table.rows() == WANT
    assert len(table.keys("data/")) == len(table.open().file_uris())
    assert table.keys("_staging/") == []
    assert not table.seaweed.uploads(table.bucket)
    assert committed is any(re.search(r"-1-\d{5}-", uri) for uri in table.open().file_uris())


def test_four_processes_of_one_job_make_one_commit(table: Table) -> None:
    said = runs.race([table.plan(uid="11111111-2222-3333-4444-555555555555")] * 4, table.seaweed.environment)
    assert sorted(said) in (["WorkerLost"] * (4 - n) + ["version 0"] * n for n in range(1, 5))
    assert table.open().version() == 0
    assert table.rows() == WANT


def test_four_processes_of_four_jobs_make_four_commits(table: Table) -> None:
    said = runs.race([table.plan() for _ in range(4)], table.seaweed.environment)
    assert sorted(said) == [f"version {n}" for n in range(4)]
    assert table.rows() == sorted(WANT * 4, key=str)


@pytest.mark.parametrize("mode", ["overwrite", "overwritePartitions"])
def test_of_four_that_overwrite_at_a_time_the_last_one_s_rows_are_there(table: Table, mode: str) -> None:
    said = runs.race([table.plan(mode=mode) for _ in range(4)], table.seaweed.environment)
    assert sorted(said) == [f"version {n}" for n in range(4)]
    assert table.rows() == WANT


def test_of_four_that_make_a_table_one_does(table: Table) -> None:
    said = runs.race([table.plan(mode="errorIfExists") for _ in range(4)], table.seaweed.environment)
    assert sorted(said) == ["OutputExists"] * 3 + ["version 0"]
    assert table.rows() == WANT
    assert len(table.keys("data/")) == 3


def test_an_answer_to_the_commit_that_is_lost_is_no_second_commit(table: Table, proxy) -> None:
    proxy.rules = [Rule(Action.SWALLOW, "PUT", "_delta_log/", times=1)]
    done = sinks.run(table.plan(proxy.endpoint), pl.LazyFrame(ROWS))
    assert (done.version, done.rows, done.files) == (0, 300, 3)
    assert proxy.count("PUT", "_delta_log/") == 2
    assert (table.open().version(), table.rows()) == (0, WANT)


def test_an_answer_that_is_lost_while_delta_rs_writes_too_is_no_second_commit(table: Table, proxy) -> None:
    proxy.rules = [Rule(Action.SWALLOW, "PUT", "_delta_log/", times=1)]
    made = table.plan(proxy.endpoint)
    one = sinks.sink(made)
    assert one.preflight() is None
    one.write(pl.LazyFrame(ROWS))
    frame = pl.DataFrame({"k": ["z"], "v": [-1]})
    write_deltalake(made.output.uri, frame.to_arrow(), partition_by=["k"], storage_options=table.options)
    assert one.commit().version == 1
    assert table.rows() == sorted([*WANT, ("z", -1)], key=str)


def test_requests_for_a_commit(table: Table, proxy) -> None:
    """Three files: what each request is for."""
    sinks.run(table.plan(proxy.endpoint), pl.LazyFrame(ROWS))
    first = proxy.count()
    sinks.run(table.plan(proxy.endpoint), pl.LazyFrame(ROWS))
    assert (first, proxy.count() - first) == (22, 23)
    assert proxy.count("PUT", "/data/") == 6
    assert proxy.count("PUT", "_delta_log/") == 2


def test_polars_and_delta_rs_read_the_same(table: Table) -> None:
    sinks.run(table.plan(), pl.LazyFrame(ROWS))
    options = {name.lower(): value for name, value in table.options.items()}
    found = pl.scan_delta(table.plan().output.uri, storage_options=options).collect()
    assert sorted(found.select("k", "v").rows(), key=str) == table.rows() == WANT
