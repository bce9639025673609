"""Iceberg tables as an output, in a real S3 server behind a real REST catalog: one commit for each job, whoever dies or
races, read back by pyiceberg, Polars and DuckDB."""

from __future__ import annotations

import itertools
import os
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError, TableAlreadyExistsError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField

from gpuquery.plan.plan import Plan
from gpuquery.runner import engines
from gpuquery.runner.output.commit import Step
from gpuquery.runner.stores.s3.client import s3_client
from tests.s3.test_iceberg import Server, served
from tests.support import delta_runs, duckdb_iceberg, memory_catalog, rank_threads, sinks
from tests.support.delta_runs import Death
from tests.support.iceberg_runs import COMMIT, DEATHS, PROGRAM, ROWS, SCHEMA, frame
from tests.support.memory_s3 import MemoryS3
from tests.support.runner import run
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.api.report import Report

pytestmark = pytest.mark.s3
CREATE = {"partitionBy": ["day(ts)", "bucket(4, id)"], "sortBy": ["ts desc"]}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
ARROW = pa.schema(
    {"id": pa.int64(), "ts": pa.timestamp("us", "UTC"), "name": pa.string(), "price": pa.decimal128(12, 2)}
)
WANT = pa.table({name: pa.array(values, ARROW.field(name).type) for name, values in ROWS.items()}, schema=ARROW)
SOME = ("when it has its permit", "right before the commit", "when the answer is lost")
"""Deaths that are seen each time; the others belong to the long schedule."""
BY_K = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "k"))
NAMES = (f"t{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as context:
        for name, value in ENVIRONMENT.items():
            context.setenv(name, value)
        with served(tmp_path_factory.mktemp("weed")) as server:
            yield server


class Table:
    """A table, looked at by other readers."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, f"sales.{next(NAMES)}"
        self.endpoint = str(server.access.endpoint)

    def plan(self, *, uid: str = "", **more: Any) -> Plan:
        table = {"catalog": "lake", "name": self.name, "create": CREATE}
        return sinks.plan(None, store=self.server.access, uid=uid, **{"table": table, "mode": "append", **more})

    def load(self) -> Any:
        return self.server.catalog().load_table(self.name)

    @property
    def commits(self) -> int:
        return len(self.load().metadata.snapshots)

    def rows(self) -> pa.Table:
        """By pyiceberg and pyarrow."""
        return self.load().scan().to_arrow().cast(ARROW).sort_by("id")

    def keys(self, folder: str) -> list[str]:
        """Keys of all objects below a folder of the table."""
        bucket, _, root = self.load().location().removeprefix("s3://").partition("/")
        pages = s3_client(self.server.access).get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=f"{root}/{folder}")
        return [one["Key"] for page in found for one in page.get("Contents", ())]


@pytest.fixture
def table(server: Server) -> Table:
    return Table(server)


def times(count: int) -> pa.Table:
    return pa.concat_tables([WANT] * count).sort_by("id")


@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=() if one in SOME else pytest.mark.faults) for one in DEATHS]
)
def test_an_attempt_that_is_killed_and_the_next_make_one_commit(table: Table, moment: str) -> None:
    made = table.plan()
    delta_runs.killed(made, os.environ, DEATHS[moment], PROGRAM)
    committed = table.commits
    said = delta_runs.attempt(sinks.sink(made, 2), lf=frame())
    (snapshot,) = table.load().metadata.snapshots
    assert said == f"snapshot {snapshot.snapshot_id}"
    assert table.rows().equals(WANT)
    assert snapshot.summary.additional_properties["gpuquery.attempt"] == ("1" if committed else "2")
    named = {one["file_path"].rpartition("/")[2] for one in table.load().inspect.files().to_pylist()}
    assert {key.rpartition("/")[2] for key in table.keys("data/")} == named
    assert table.keys("_staging/") == []


REWRITING = {
    "when files were written anew": Death("put", r"^[^/]*-m[0-9]+\.avro$"),
    "right before the commit": DEATHS["right before the commit"],
    "when the answer is lost": DEATHS["when the answer is lost"],
}


@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=() if "anew" in one else pytest.mark.faults) for one in REWRITING]
)
def test_an_attempt_that_is_killed_while_it_replaces_some_rows_of_files_leaves_nothing(
    table: Table, moment: str
) -> None:
    others = frame().with_columns(pl.col("id") + 1000, (pl.col("price") + 1000).cast(pl.Decimal(12, 2)))
    sinks.run(table.plan(), pl.concat([frame(), others]))
    made = table.plan(mode="overwrite", overwriteWhere="price < 500.00")
    delta_runs.killed(made, os.environ, REWRITING[moment], PROGRAM)
    said = delta_runs.attempt(sinks.sink(made, 2), lf=frame())
    assert said == f"snapshot {table.load().current_snapshot().snapshot_id}" and table.commits == 2
    want = pa.concat_tables([WANT, others.collect().to_arrow().cast(ARROW)]).sort_by("id")
    assert table.rows().equals(want)
    named = {one["file_path"].rpartition("/")[2] for one in table.load().inspect.files().to_pylist()}
    assert {key.rpartition("/")[2] for key in table.keys(f"data/{made.job.uid}/")} == named
    assert table.keys("_staging/") == []


def test_four_processes_of_one_job_make_one_commit(table: Table) -> None:
    made = [table.plan(uid="11111111-2222-3333-4444-555555555555")] * 4
    said = delta_runs.race(made, os.environ, PROGRAM)
    (snapshot,) = table.load().metadata.snapshots
    assert sorted(set(said) - {"WorkerLost"}) == [f"snapshot {snapshot.snapshot_id}"]
    assert table.rows().equals(WANT)


def test_four_processes_of_four_jobs_make_four_commits(table: Table) -> None:
    said = delta_runs.race([table.plan() for _ in range(4)], os.environ, PROGRAM)
    assert sorted(said) == sorted(f"snapshot {one.snapshot_id}" for one in table.load().metadata.snapshots)
    assert len(set(said)) == 4
    assert table.rows().equals(times(4))


def test_a_job_whose_rows_are_there_is_not_hurt_by_a_process_that_wakes_up_later(table: Table) -> None:
    made = table.plan()
    late = sinks.sink(made)
    assert late.preflight() is None
    late.check_schema(frame().collect_schema())
    late.write(frame())
    late.seal()
    said = delta_runs.attempt(sinks.sink(made, 2), lf=frame())
    assert late.commit().commit == said
    assert table.rows().equals(WANT) and table.commits == 1


def test_other_readers_see_the_same_rows_and_partitions(table: Table, tmp_path: Path) -> None:
    for mode in ("append", "overwritePartitions"):
        sinks.run(table.plan(mode=mode), frame())
    found = table.load()
    options = {
        "aws_endpoint_url": table.endpoint, "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY,
        "aws_region": REGION, "aws_allow_http": "true",
    }  # fmt: skip
    assert table.rows().equals(WANT)
    polars = pl.scan_iceberg(found, storage_options=options).collect()
    assert polars.to_arrow().cast(ARROW).sort_by("id").equals(WANT)
    secret = (
        f"create secret (type s3, key_id '{ACCESS_KEY}', secret '{SECRET_KEY}', region '{REGION}', "
        f"endpoint '{table.endpoint.removeprefix('http://')}', use_ssl false, url_style 'path')"
    )
    duck = duckdb_iceberg.read({"t": found.metadata_location}, tmp_path, secret)["t"]
    assert duck.cast(ARROW).sort_by("id").equals(WANT)
    days = {one["partition"]["ts_day"] for one in found.inspect.files().to_pylist()}
    assert days == {None if at is None else at.date() for at in ROWS["ts"]}
    (two,) = found.scan(row_filter="id = 77").to_arrow().to_pylist()
    assert two["ts"] == ROWS["ts"][77] and len(list(found.scan(row_filter="id = 77").plan_files())) == 1


def test_a_catalog_that_carries_out_what_it_does_not_answer_for_gets_one_commit(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.exceptions import CommitStateUnknownException

    sent = []
    call = getattr(RestCatalog, COMMIT)

    def lost(self: Any, *more: Any) -> Any:
        sent.append(call(self, *more))
        raise CommitStateUnknownException("the gateway has timed out")

    monkeypatch.setattr(RestCatalog, COMMIT, lost)
    said = delta_runs.attempt(sinks.sink(table.plan()), lf=frame())
    monkeypatch.undo()
    assert len(sent) == 1 and said == f"snapshot {table.load().metadata.current_snapshot_id}"
    assert table.rows().equals(WANT)


def test_a_snapshot_is_reused_while_the_table_holds_the_rows_of_one_job_alone(table: Table, tmp_path: Path) -> None:
    pl.DataFrame(ROWS, schema=SCHEMA).write_parquet(tmp_path / "t.parquet")

    def ran(**output: Any) -> Report:
        uid = str(uuid.uuid4())
        sql = {"language": "sql", "dialect": "duckdb", "query": "SELECT * FROM t", "now": "2026-11-29T12:00:00Z"}
        document = table.plan(uid=uid, **{"mode": "overwrite", **output}).model_dump(mode="json", exclude_none=True) | {
            **sql, "inputs": [{"name": "t", "uri": f"file://{tmp_path}/t.parquet", "format": "parquet"}],
            "reuse": {"maxAge": "1h"} if output.get("mode") != "append" else None,
        }  # fmt: skip
        return run(Plan.model_validate(document))

    first = ran()
    assert first.committed and first.reuse and not first.reuse.reused, first.message
    again = ran()
    assert again.reuse and again.reuse.reused, again.reuse
    assert again.committed == first.committed and table.commits == 1
    assert table.rows().equals(WANT)
    assert ran(mode="append").committed
    mixed = ran()
    assert mixed.committed and mixed.reuse and "is not the work of one job" in mixed.reuse.differs
    assert table.rows().equals(WANT)


def test_ranks_without_a_preflight_make_the_table_and_commit_once(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame(ROWS, schema=SCHEMA).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(engines, "find", lambda name: rank_threads.Shares(parts=2))
    document = table.plan().model_dump(mode="json", exclude_none=True) | {
        "language": "sql", "dialect": "duckdb", "query": "SELECT * FROM t", "now": "2026-11-29T12:00:00Z",
        "inputs": [{"name": "t", "uri": f"file://{tmp_path}/t.parquet", "format": "parquet"}],
        "processes": "ranks", "replicas": 3,
    }  # fmt: skip
    reports = rank_threads.run(Plan.model_validate(document), 3)
    assert [report and report.committed and report.committed.rows for report in reports] == [len(WANT)] * 3, reports
    assert table.rows().equals(WANT) and table.commits == 1
    assert table.keys("_staging/") == []


def answers(client: Any, name: str) -> list[str]:
    """What a catalog says to what a runner asks, step by step: an error, or what the table is then."""
    table: list[Any] = []

    def snapshot(number: int, parent: int | None, **more: Any) -> Any:
        of = table[0].metadata
        made = Snapshot(
            snapshot_id=number, parent_snapshot_id=parent, sequence_number=number, schema_id=0,
            manifest_list=f"{of.location}/metadata/snap-{number}.avro", summary=Summary(Operation.APPEND),
        )  # fmt: skip
        to = SetSnapshotRefUpdate(ref_name="main", type=SnapshotRefType.BRANCH, snapshot_id=number)
        wants = (
            AssertTableUUID(uuid=more.get("uuid", of.table_uuid)),
            AssertRefSnapshotId(ref="main", snapshot_id=parent),
        )
        return client.commit_table(more.get("of", table[0]), wants, (AddSnapshotUpdate(snapshot=made), to))

    def create() -> Any:
        properties = {"format-version": "2"}
        schema = Schema(NestedField(1, "k", LongType()), NestedField(2, "v", LongType()))
        table.append(client.create_table(("sales", name), schema, partition_spec=BY_K, properties=properties))
        return table[0]

    other = SimpleNamespace(name=lambda: ("sales", f"{name}-none"), config={})
    steps = (
        lambda: client.load_table(("sales", name)), create, create,
        lambda: snapshot(1, None), lambda: snapshot(1, None), lambda: snapshot(2, None),
        lambda: snapshot(2, 7), lambda: snapshot(2, 1, uuid=uuid.uuid4()),
        lambda: snapshot(2, 1, of=other), lambda: snapshot(2, 1), lambda: client.load_table(("sales", name)),
    )  # fmt: skip
    found = []
    for step in steps:
        try:
            of = step().metadata
            known = (
                of.format_version,
                of.last_sequence_number,
                of.current_snapshot_id,
                len(of.snapshots),
                of.refs.keys(),
            )
            found.append(f"{known} {of.schema()} {of.spec()}")
        except (NoSuchTableError, TableAlreadyExistsError, CommitFailedException, RESTError) as exc:
            found.append(type(exc).__name__)
    return found


def test_the_catalog_in_memory_says_what_a_real_one_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, send = memory_catalog.MemoryCatalog(MemoryS3()), requests.adapters.HTTPAdapter.send
    real = answers(server.catalog(), next(NAMES))

    def sent(adapter: Any, request: Any, **more: Any) -> Any:
        if request.url.startswith("http://127.0.0.1:9/"):
            return memory_catalog.written(request, memory.answer(request))
        return send(adapter, request, **more)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", sent)
    said = answers(RestCatalog("lake", uri="http://127.0.0.1:9"), "t")
    # Where a table is there, the specification has a 409, and SeaweedFS returns it.
    assert (said.pop(2), real.pop(2)) == ("TableAlreadyExistsError", real[1])
    assert said == real
    assert [one for one in real if one.isalpha()] == ["NoSuchTableError", *["CommitFailedException"] * 4, "RESTError"]


def test_jobs_on_two_branches_both_commit_though_both_ask_for_one_number(table: Table) -> None:
    """The catalog says 400 to the later one: "can't add snapshot with sequence number 2"."""
    sinks.run(table.plan(), frame())
    named = {"catalog": "lake", "name": table.name}
    writers = [sinks.sink(table.plan(table={**named, "branch": branch})) for branch in ("a", "b")]
    for writer in writers:
        assert writer.preflight() is None
        writer.check_schema(frame().collect_schema())
        writer.write(frame())
        writer.seal()
    first, second = writers
    committer = second._table._committer  # type: ignore[attr-defined]
    hook, done = committer._hook, list[str]()

    def overtaken(step: Step) -> None:
        if step is Step.BEFORE_RECORD and not done:
            done.append(first.commit().commit)
        hook(step)

    committer._hook = overtaken
    done.append(second.commit().commit)
    found = table.load()
    assert [f"snapshot {found.refs()[branch].snapshot_id}" for branch in ("a", "b")] == done
    assert table.rows().equals(WANT) and table.commits == 3
    for branch in ("a", "b"):
        assert found.scan().use_ref(branch).to_arrow().num_rows == 2 * len(WANT)
