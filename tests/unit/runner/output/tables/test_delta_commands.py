"""`gpuquery history` and `rollback` on Delta tables, as delta-rs and pyarrow see them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gpuquery.cli.main import main
from gpuquery.runner.output.tables.delta import rollback as restoring
from gpuquery.runner.stores.posix import PosixStore
from tests.support import delta_tables, sinks
from tests.support.delta_output import log, read

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan


def written(path: Path, *values: int, mode: str = "append") -> Plan:
    """Commit rows of two partitions; returns the plan."""
    made = sinks.plan(f"file://{path}", delta={}, mode=mode, partitionBy=["k"])
    sinks.run(made, pl.LazyFrame({"k": [f"p{one % 2}" for one in values], "v": values}))
    return made


def values(path: Path) -> list[int]:
    return sorted(read(path)["v"].to_pylist())


def call(command: str, path: Path, *more: str) -> int:
    return main([command, f"file://{path}", *more])


def told(command: str, path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    assert call(command, path, *more, "-o", "json") == 0
    return json.loads(capsys.readouterr().out)


def test_history_says_who_has_committed_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = written(tmp_path, 1, 2)
    write_deltalake(str(tmp_path), pa.table({"k": ["p9"], "v": [9]}), mode="append")
    written(tmp_path, 3, mode="overwrite")
    found = told("history", tmp_path, capsys)
    assert [(one["version"], one["job"], one["rows"], one["files"], one["replaced"]) for one in found] == [
        ("2", "ns/job", 1, 1, 3), ("1", "", 1, 1, 0), ("0", "ns/job", 2, 2, 0),
    ]  # fmt: skip
    assert found[0]["operation"] == "WRITE Overwrite" and found[2]["uid"] == made.job.uid
    assert found[1]["operation"] == "WRITE Append" and found[1]["writer"].startswith("delta-rs")
    sizes = DeltaTable(str(tmp_path)).get_add_actions().column("size_bytes").to_pylist()
    assert found[0]["bytes"] == sum(sizes)
    assert call("history", tmp_path, "--last", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "(delta-rs" in lines[2] and "BRANCHES" not in lines[0]


def test_a_rollback_names_the_files_of_a_version_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, 1, 2)
    later = written(tmp_path, 3, 4, 5, mode="overwrite")
    assert call("rollback", tmp_path, "--to", "0") == 0
    out = capsys.readouterr().out
    assert "version 2 makes the table what it was at version 0, without the 2 files that came later, and with 2" in out
    assert values(tmp_path) == [1, 2] and read(tmp_path).equals(DeltaTable(str(tmp_path), version=0).to_pyarrow_table())
    assert sinks.run(later, pl.LazyFrame({"k": ["p0"], "v": [3]})).version == 1, "its job stays committed"
    assert values(tmp_path) == [1, 2]
    assert told("history", tmp_path, capsys, "--last", "1")[0]["operation"] == "RESTORE to 0"
    written(tmp_path, 6)
    assert told("rollback", tmp_path, capsys, "--to", "1") == {
        "table": f"file://{tmp_path}", "version": 4, "restores": 1, "added": 2, "removed": 3,
    }  # fmt: skip
    assert values(tmp_path) == [3, 4, 5]
    statistics = DeltaTable(str(tmp_path)).get_add_actions(flatten=True)
    assert sum(statistics.column("num_records").to_pylist()) == 3


def test_deletion_vectors_come_back_with_their_files(tmp_path: Path) -> None:
    delta_tables.commit(
        tmp_path, 0, delta_tables.protocol("deletionVectors"),
        delta_tables.metadata([delta_tables.field("v", "long")]),
        delta_tables.add(tmp_path, "a.parquet", pa.table({"v": [1, 2, 3]})),
    )  # fmt: skip
    first, second = delta_tables.in_file(tmp_path, [[0], [1, 2]])
    file = log(tmp_path, 0)[-1]["add"]
    for version, (before, after) in enumerate([(None, first), (first, second)], 1):
        gone = delta_tables.remove("a.parquet", before)
        delta_tables.commit(tmp_path, version, gone, {"add": {**file, "deletionVector": after}})
    assert call("rollback", tmp_path, "--to", "1") == 0
    made = log(tmp_path, 3)
    assert [one["add"]["deletionVector"] for one in made if "add" in one] == [first]
    assert [one["remove"]["deletionVector"] for one in made if "remove" in one] == [second]
    assert call("rollback", tmp_path, "--to", "0") == 0
    assert [one["add"] for one in log(tmp_path, 4) if "add" in one] == [
        {**{name: value for name, value in file.items() if name != "deletionVector"}, "modificationTime": ANY}
    ]
    next(tmp_path.glob("**/deletion_vector_*.bin")).unlink()
    assert call("rollback", tmp_path, "--to", "2") == 2


def vacuumed(path: Path) -> None:
    """Remove the files that the first version alone names."""
    DeltaTable(str(path)).vacuum(0, dry_run=False, enforce_retention_duration=False)


def widened(path: Path) -> None:
    write_deltalake(str(path), pa.table({"k": ["p1"], "v": [7], "w": [1]}), mode="append", schema_mode="merge")


def cut(path: Path) -> None:
    (name,) = [one for one in DeltaTable(str(path), version=0).file_uris() if "k=p0" in one]
    with open(name, "ab") as file:
        file.write(b"x")


def frozen(path: Path) -> None:
    DeltaTable(str(path)).alter.set_table_properties({"delta.appendOnly": "true"})


def featured(path: Path) -> None:
    from deltalake.table import TableFeatures

    DeltaTable(str(path)).alter.add_feature(TableFeatures.TimestampWithoutTimezone, True)


@pytest.mark.parametrize(
    ("change", "to", "says"),
    [
        pytest.param(lambda _: None, 7, "there is no way back to version 7: versions 0 to 1 can be read", id="no such"),
        pytest.param(lambda _: None, 1, "that is what the table is now", id="now"),
        pytest.param(vacuumed, 0, ".parquet, is gone, as VACUUM removes", id="a file is gone"),
        pytest.param(cut, 0, "bytes, and", id="a file is another one"),
        pytest.param(widened, 0, "its columns have changed since", id="another schema"),
        pytest.param(featured, 0, "its features have changed since", id="other features"),
        pytest.param(frozen, 0, "delta.appendOnly", id="nothing may go"),
    ],
)
def test_where_there_is_no_way_back_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, to: int, says: str
) -> None:
    written(tmp_path, 1, 2)
    written(tmp_path, 3, mode="overwrite")
    change(tmp_path)
    version, rows = DeltaTable(str(tmp_path)).version(), values(tmp_path)
    assert call("rollback", tmp_path, "--to", str(to)) in (1, 2)
    assert says in capsys.readouterr().err
    assert (DeltaTable(str(tmp_path)).version(), values(tmp_path)) == (version, rows)


def test_rows_that_come_while_it_looks_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 1, 2)
    written(tmp_path, 3, mode="overwrite")
    looked = restoring._check_there

    def late(*asked: Any) -> None:
        monkeypatch.setattr(restoring, "_check_there", looked)
        written(tmp_path, 4)
        looked(*asked)

    monkeypatch.setattr(restoring, "_check_there", late)
    assert call("rollback", tmp_path, "--to", "0") == 0
    assert (values(tmp_path), DeltaTable(str(tmp_path)).version()) == ([1, 2], 3)


def test_an_answer_that_is_lost_is_no_second_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 1, 2)
    written(tmp_path, 3, mode="overwrite")
    create = PosixStore.create

    def lost(self: Any, key: str, body: bytes) -> bool:
        create(self, key, body)
        return False

    monkeypatch.setattr(PosixStore, "create", lost)
    assert call("rollback", tmp_path, "--to", "0") == 0
    assert (values(tmp_path), DeltaTable(str(tmp_path)).version()) == ([1, 2], 2)
