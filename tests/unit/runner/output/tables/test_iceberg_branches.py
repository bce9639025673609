"""Branches of Iceberg tables that move: to publish what was checked, and back, as pyiceberg's own reader sees it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from uuid import uuid4

import pyarrow as pa
import pytest
from pyiceberg.table.update import SetSnapshotRefUpdate

from gpuquery.api.catalogs import variable
from gpuquery.cli.main import main
from gpuquery.runner.output.tables.iceberg import publish
from tests.support import iceberg
from tests.support.sinks import run, sink
from tests.unit.runner.output.tables.test_iceberg_output import SALES, ids, job, row, sales

LAKE = "lake:sales.orders"
ERROR = json.dumps({"error": {"type": "X", "message": "as asked", "code": 500}}).encode()


@contextmanager
def served(folder):
    """A table with one row, whose catalog the command line knows."""
    with iceberg.served(folder) as lake, pytest.MonkeyPatch.context() as context:
        context.setattr(publish, "PATIENCE", 5.0)
        context.setenv(variable("lake", "uri"), lake.uri)
        lake.table(SALES)
        run(job(lake), sales(row(1, 1)))
        yield lake


@pytest.fixture
def lake(tmp_path):
    with served(tmp_path) as lake:
        yield lake


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """One with a branch and a tag, which nothing changes."""
    with served(tmp_path_factory.mktemp("lake")) as lake:
        audited(lake)
        table = lake.catalog.load_table("sales.orders")
        table.manage_snapshots().create_tag(table.metadata.current_snapshot_id, "v1").commit()
        yield lake


def audited(lake, number=2):
    """A job that has written to the branch; returns its plan."""
    made = job(lake, mode="append", branch="audit")
    run(made, sales(row(number, 1)))
    return made


def refs(lake):
    return {name: ref.snapshot_id for name, ref in lake.catalog.load_table("sales.orders").metadata.refs.items()}


def test_what_a_branch_has_is_seen_by_all_once_it_is_published(lake, capsys):
    audited(lake), audited(lake, 3)
    before = refs(lake)
    assert main(["publish", LAKE, "audit", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "table": LAKE, "branch": "main", "before": str(before["main"]), "snapshot": str(before["audit"]),
        "snapshots": 2, "dropped": False,
    }  # fmt: skip
    assert ids(lake) == [1, 2, 3] and refs(lake) == {"main": before["audit"], "audit": before["audit"]}
    assert main(["publish", LAKE, "audit"]) == 0
    assert "there is nothing to publish: main has all snapshots of audit" in capsys.readouterr().out


def test_the_branch_goes_with_the_same_request_and_its_job_stays_committed(lake, capsys):
    made = audited(lake)
    assert main(["publish", LAKE, "audit", "--drop"]) == 0
    assert "the branch audit is gone" in capsys.readouterr().out
    assert set(refs(lake)) == {"main"} and ids(lake) == [1, 2]
    assert run(made, sales(row(2, 1))).snapshot == str(refs(lake)["main"])
    later = sink(made, 2)
    assert later.preflight() is not None and ids(lake) == [1, 2]


def test_a_branch_that_main_has_already_is_only_removed(lake):
    audited(lake)
    assert main(["publish", LAKE, "audit"]) == 0
    run(job(lake, mode="append"), sales(row(3, 1)))
    now = refs(lake)["main"]
    assert main(["publish", LAKE, "audit", "--drop"]) == 0
    assert refs(lake) == {"main": now} and ids(lake) == [1, 2, 3]


def test_what_main_has_got_meanwhile_is_never_taken_out_of_it(lake, capsys):
    audited(lake)
    run(job(lake, mode="append"), sales(row(3, 1)))
    before = refs(lake)
    assert main(["publish", LAKE, "audit"]) == 1
    told = capsys.readouterr().err
    assert f"snapshot {before['main']} (of job ns/job), where main is, is not in the history of audit" in told
    assert "Run the job again on a fresh branch" in told
    assert refs(lake) == before and ids(lake) == [1, 3]


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        pytest.param(["other"], 2, "there is no branch other; it has audit, main", id="a branch that is not there"),
        pytest.param(["audit", "--to", "live"], 2, "there is no branch live", id="a target that is not there"),
        pytest.param(["v1"], 2, "v1 is a tag, which does not move", id="a tag"),
        pytest.param(["audit", "--to", "v1"], 2, "v1 is a tag", id="to a tag"),
        pytest.param(["main"], 2, "main cannot be published to itself", id="to itself"),
        pytest.param(["main", "--to", "audit", "--drop"], 2, "main is never dropped", id="main stays"),
    ],
)
def test_what_cannot_be_published_is_refused(still, capsys, more, code, says):
    before = refs(still)
    assert main(["publish", LAKE, *more]) == code
    assert says in capsys.readouterr().err and refs(still) == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("s3://lake/orders", "only Iceberg tables have branches"),
        ("orders", "'orders' is no table: write the URI of a folder (s3://...), or CATALOG:NAMESPACE.TABLE"),
        ("lake:orders", "CATALOG:NAMESPACE.TABLE"),
        ("lake:sales.order", "has no table order; it has orders"),
        ("pond:sales.orders", 'catalog "pond" is not known here'),
    ],
)
def test_a_table_that_is_not_named_well_is_refused(still, capsys, name, says):
    assert main(["publish", name, "audit"]) == 2
    assert says in capsys.readouterr().err


def test_a_branch_keeps_how_long_its_snapshots_stay(lake):
    audited(lake)
    with lake.catalog.load_table("sales.orders").transaction() as tx:
        known = {"ref-name": "main", "type": "branch", "snapshot-id": refs(lake)["main"], "min-snapshots-to-keep": 7}
        tx._apply((SetSnapshotRefUpdate(**known),))
    assert main(["publish", LAKE, "audit"]) == 0
    assert lake.catalog.load_table("sales.orders").metadata.refs["main"].min_snapshots_to_keep == 7


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("answer", "drop"), [("hang up", ("--drop",)), ((500, ERROR), ()), ((503, ERROR), ())], ids=["lost", "500", "503"]
)
def test_an_answer_that_is_lost_is_looked_for_in_the_table(lake, when, answer, drop):
    audited(lake)
    left = [answer]
    lake.fault = lambda moment, parts: left.pop() if moment == when and left else None
    wanted = refs(lake)["audit"]
    assert main(["publish", LAKE, "audit", *drop]) == 0
    assert not left and refs(lake)["main"] == wanted and ids(lake) == [1, 2]
    assert set(refs(lake)) == ({"main"} if drop else {"main", "audit"})


def test_who_loses_a_race_looks_again(lake, capsys):
    audited(lake)

    def fault(moment, parts):
        if moment == "before" and raced:
            raced.pop()
            lake.fault = lambda *_: None
            run(job(lake, mode="append", uid=str(uuid4())), sales(row(9, 1)))

    raced = [1]
    lake.fault = fault
    assert main(["publish", LAKE, "audit"]) == 1
    assert "is not in the history of audit" in capsys.readouterr().err
    assert ids(lake) == [1, 9]


def test_history_says_who_has_made_which_snapshot_and_where_it_is_seen(lake, capsys):
    audited(lake)
    lake.catalog.load_table("sales.orders").append(pa.Table.from_pylist([{"id": 5}], SALES.as_arrow()))
    run(job(lake, mode="overwrite"), sales(row(7, 1), row(8, 1)))
    assert main(["history", LAKE, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    want = sorted(lake.catalog.load_table("sales.orders").metadata.snapshots, key=lambda one: -one.sequence_number)
    assert [one["version"] for one in told] == [str(one.snapshot_id) for one in want]
    assert [(one["job"], one["operation"], one["rows"], one["files"], one["replaced"]) for one in told] == [
        ("ns/job", "overwrite", 2, 1, 2), ("", "append", 1, 1, 0), ("ns/job", "append", 1, 1, 0),
        ("ns/job", "append", 1, 1, 0),
    ]  # fmt: skip
    assert [one["branches"] for one in told] == [["main"], ["main"], ["audit"], ["main", "audit"]]
    assert main(["history", LAKE, "--last", "1"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.startswith("VERSION") and head.endswith("BRANCHES") and line.endswith("main") and "ns/job" in line


def test_a_table_goes_back_to_a_snapshot_and_the_job_after_it_stays_committed(lake, capsys):
    first = refs(lake)["main"]
    made = job(lake, mode="overwrite")
    run(made, sales(row(2, 1)))
    assert main(["rollback", LAKE, "--to", str(first)]) == 0
    assert f"main is at snapshot {first} again, without the 1 snapshots since" in capsys.readouterr().out
    assert ids(lake) == [1] and refs(lake)["main"] == first
    assert run(made, sales(row(2, 1))).rows == 1 and ids(lake) == [1]
    run(job(lake, mode="append"), sales(row(3, 1)))
    assert ids(lake) == [1, 3]
    assert main(["rollback", LAKE, "--to", str(first), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["snapshots"] == -1 and ids(lake) == [1]
    assert main(["rollback", LAKE, "--to", str(first)]) == 0
    assert "at snapshot" in capsys.readouterr().out


def test_a_snapshot_that_is_not_in_main_is_no_way_back(still, capsys):
    for to, why in ((refs(still)["audit"], "it is not in the history of main"), (7, "the table has no such snapshot")):
        assert main(["rollback", LAKE, "--to", str(to)]) == 2
        assert f"snapshot {to} is no way back: {why}" in capsys.readouterr().err
    assert ids(still) == [1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_to_a_rollback_that_is_lost_takes_no_later_commit_back(lake, when):
    """Whoever commits after it was carried out stays; whoever is there before it goes."""
    first = refs(lake)["main"]
    run(job(lake, mode="append"), sales(row(2, 1)))

    def fault(moment, parts):
        if moment == when and left:
            left.pop()
            run_later()
            return "hang up"
        return None

    def run_later():
        lake.fault = lambda *_: None
        run(job(lake, mode="append"), sales(row(3, 1)))

    left = [1]
    lake.fault = fault
    assert main(["rollback", LAKE, "--to", str(first)]) == 0
    assert ids(lake) == ([1] if when == "before" else [1, 3])
