"""Jobs whose result is there already, and jobs that say why theirs is not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.differences import deciding
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Dask, JobRef, Purpose
from gpuquery.runner import local
from gpuquery.runner.engines.cpu import CpuEngine
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.output import reuse as reusing
from gpuquery.runner.query import queries
from tests.support.runner import plan, result, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuquery.api.report import Report

QUERY = "SELECT a, :n AS n FROM t WHERE a > 0"


def asked(folder: Path, query: str = QUERY, **changes: Any) -> Any:
    (folder / "in").mkdir(exist_ok=True)
    if not (folder / "in/a.csv").exists():
        (folder / "in/a.csv").write_text("a,b\n1,x\n2,y\n")
    output = {"uri": f"file://{folder}/out", "mode": "overwrite", **changes.pop("output", {})}
    given = {
        "inputs": {"t": {"uri": f"file://{folder}/in/*.csv"}}, "parameters": {"n": {"integer": 7}},
        "reuse": {"maxAge": "24h"}, "output": output, **changes,
    }  # fmt: skip
    if ":n" not in query and "parameters" not in changes:
        given["parameters"] = {}
    return plan(folder, query, **given)


def versions(folder: Path) -> int:
    return len(list((folder / "out/_commits").glob("*.json")))


def test_the_same_job_again_runs_nothing_and_has_the_earlier_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(asked(tmp_path))
    assert first.committed and first.reuse and not first.reuse.reused
    assert "the output is empty" in first.reuse.differs
    monkeypatch.setattr(CpuEngine, "run", lambda *_: pytest.fail("the engine ran"))
    for text in (QUERY, "select a, :n as n\nfrom t where a > 0 -- the same"):
        again = run(asked(tmp_path, text))
        assert again.reuse and again.reuse.reused, again.reuse
        assert (again.committed, again.reuse.job, again.reuse.commit) == (first.committed, "default/job", "version 1")
        assert again.receipt and first.receipt and again.receipt.key == first.receipt.key
    assert versions(tmp_path) == 1 and result(tmp_path).height == 2


def test_the_preflight_finds_it_and_without_reuse_nobody_looks(tmp_path: Path) -> None:
    first = run(asked(tmp_path, reuse=None))
    assert first.committed and first.reuse is None
    made = asked(tmp_path).model_copy(update={"purpose": Purpose.PREFLIGHT})
    report = run(made)
    assert report.committed == first.committed and report.preflight and report.reuse and report.reuse.reused
    assert report.succeeded and len(report.to_line()) < 4096
    assert run(asked(tmp_path, reuse=None)).committed.version == 2  # type: ignore[union-attr]


def more(folder: Path) -> None:
    (folder / "in/b.csv").write_text("a,b\n3,z\n")


def replaced(folder: Path) -> None:
    (folder / "in/a.csv").write_text("a,b\n1,x\n4,y\n")
    os.utime(folder / "in/a.csv", ns=(1, 1))


def appended(folder: Path) -> None:
    assert run(asked(folder, reuse=None, output={"mode": "append"})).committed


def without_receipt(folder: Path) -> None:
    for path in (folder / "out/_receipts").iterdir():
        path.unlink()


def forged(folder: Path) -> None:
    (path,) = (folder / "out/_receipts").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))


def rewritten(folder: Path, **changes: Any) -> None:
    (path,) = (folder / "out/_receipts").iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def of_another_job(folder: Path) -> None:
    rewritten(folder, job={"namespace": "other", "name": "job", "uid": "u"})


def that_leaves_things_out(folder: Path) -> None:
    rewritten(folder, software={})


def that_is_deep(folder: Path) -> None:
    (path,) = (folder / "out/_receipts").iterdir()
    path.write_text(path.read_text().rstrip("}\n ") + ', "processes": [{"x": ' + "[" * 100_000 + "]" * 100_000 + "}]}")


def of_wrong_types(folder: Path) -> None:
    rewritten(folder, rows="many")


def of_a_later_version(folder: Path) -> None:
    rewritten(folder, format=2)


def damaged(folder: Path) -> None:
    for path in (folder / "out/data").rglob("*.parquet"):
        path.unlink()


def nothing(_: Path) -> None:
    return


MISSES: list[Any] = [
    pytest.param(more, {}, "input t: 1 file more, 8 bytes more", id="a file more"),
    pytest.param(replaced, {}, "input t: files were replaced", id="a file that was replaced"),
    pytest.param(nothing, {"query": QUERY + " AND a < 9"}, "query: another text", id="another query"),
    pytest.param(
        nothing, {"parameters": {"n": {"integer": 8}}}, "parameter n: integer 7 then, integer 8 now", id="a parameter"
    ),
    pytest.param(nothing, {"output": {"compression": "lz4"}}, "compression: zstd then, lz4 now", id="compression"),
    pytest.param(nothing, {"output": {"partitionBy": ["a"]}}, 'partitionBy: [] then, ["a"] now', id="partitions"),
    pytest.param(nothing, {"output": {"expect": [{"rows": ">= 1"}]}}, "output.expect: not set then", id="expectations"),
    pytest.param(
        nothing, {"inputs": {"t": {"uri": "file://{}/in/*.csv", "types": {"a": "Int32"}}}},
        "input t: it is read in another way", id="types of an input",
    ),
    pytest.param(appended, {}, "output.mode: append then, so the table holds other rows too", id="rows of others"),
    pytest.param(without_receipt, {}, "version 1 has no receipt", id="a receipt that is gone"),
    pytest.param(forged, {}, "is not what the receipt of its job is of", id="a receipt of another version"),
    pytest.param(of_another_job, {}, "is not what the receipt of its job is of", id="a receipt of another job"),
    pytest.param(that_leaves_things_out, {}, "does not tell all that decides", id="a receipt that leaves things out"),
    pytest.param(that_is_deep, {}, "is no receipt", id="a receipt that is deep"),
    pytest.param(of_wrong_types, {}, "is no receipt: rows", id="a receipt of wrong types"),
    pytest.param(of_a_later_version, {}, "is no receipt that this version", id="a receipt of a later version"),
    pytest.param(nothing, {"image": "q@sha256:a"}, "does not tell all that decides", id="an image where none was told"),
    pytest.param(damaged, {}, "the output is empty", id="files that are gone"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "changes", "why"), MISSES)
def test_what_differs_first_is_said_and_the_query_runs(
    tmp_path: Path, change: Callable[[Path], None], changes: dict[str, Any], why: str
) -> None:
    assert run(asked(tmp_path)).committed
    change(tmp_path)
    before = versions(tmp_path)
    changes = json.loads(json.dumps(changes).replace("{}", str(tmp_path))) if "inputs" in changes else changes
    report = run(asked(tmp_path, **changes))
    assert report.committed and report.reuse and not report.reuse.reused, report.message
    assert why in report.reuse.differs and versions(tmp_path) == before + 1


NEVER: list[Any] = [
    pytest.param("SELECT a FROM t LIMIT 1", {}, "LIMIT without ORDER BY", id="LIMIT without ORDER BY"),
    pytest.param("SELECT a, now() AS at FROM t", {}, "now() is another value in each job", id="the current time"),
    pytest.param("SELECT any_value(b) AS b FROM t", {}, "any_value without ORDER BY", id="any value"),
    pytest.param(
        "SELECT a FROM t", {"output": {"expect": [{"sql": "SELECT max(a) < 9 AND now() > '2020-01-01' FROM result"}]}},
        "output.expect asks for now()",
        id="an expectation of the current time",
    ),
    pytest.param("SELECT a FROM t", {"dialect": "polars"}, "leave query.dialect out", id="Polars' own SQL"),
    pytest.param("SELECT a, b FROM t ORDER BY a LIMIT 1", {}, "order by 'b' too; or declare", id="rows that tie"),
    pytest.param("SELECT a FROM t", {"reuse": {"maxAge": "1h", "deterministic": False}}, "deterministic: false says",
                 id="what is declared to vary"),
    pytest.param("SELECT a, now() AS at FROM t", {"reuse": {"maxAge": "1h", "deterministic": True}}, "now() is another",
                 id="the current time, whatever is declared"),
    pytest.param("def query(inputs, params):\n    return inputs['t']", {"language": "python"}, "declare reuse.determ",
                 id="Python that declares nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "changes", "why"), NEVER)
def test_a_query_that_may_give_other_rows_is_never_reused(
    tmp_path: Path, query: str, changes: dict[str, Any], why: str
) -> None:
    for number in (1, 2):
        report = run(asked(tmp_path, query, **changes))
        assert report.committed and report.committed.version == number, report.message
        assert report.reuse and why in report.reuse.differs


def test_python_that_declares_it_is_reused_and_other_python_is_not(tmp_path: Path) -> None:
    source = "def query(inputs, params):\n    return inputs['t']\n"
    how = {"language": "python", "reuse": {"maxAge": "1h", "deterministic": True}}
    assert run(asked(tmp_path, source, **how)).committed
    again = run(asked(tmp_path, source.replace("\n", "\r\n"), **how))
    assert again.reuse and again.reuse.reused
    other = run(asked(tmp_path, source + "# more", **how))
    assert other.reuse and other.reuse.differs.startswith("query: another text")


@pytest.mark.parametrize(("hours", "why"), [(25, "more than 24h ago"), (-2, "the clocks of nodes differ"), (23, "")])
def test_a_commit_that_is_too_old_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, why: str
) -> None:
    assert run(asked(tmp_path)).committed

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(hours=hours)

    monkeypatch.setattr(reusing, "datetime", Later)
    report = run(asked(tmp_path))
    assert report.reuse and why in report.reuse.differs and report.reuse.reused is (not why)


@pytest.mark.parametrize("then", ["r/q:1", "r/q@sha256:a"])
def test_another_image_is_what_differs_first_and_a_tag_counts_with_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    assert run(asked(tmp_path, image=then)).committed
    again = run(asked(tmp_path, image=then))
    assert again.reuse and again.reuse.reused, again.reuse
    monkeypatch.setattr(receipts, "_packages", lambda: "9, SHA-256 9")
    moved = run(asked(tmp_path, image=then))
    assert moved.reuse and moved.reuse.reused is ("@" in then)
    assert moved.reuse.reused or moved.reuse.differs.startswith("software packages: ")
    other = run(asked(tmp_path, QUERY + " AND a < 9", image="r/q:2"))
    assert other.reuse and other.reuse.differs.startswith(f"image {then.rpartition('@')[2]} then, r/q:2 now")


def test_sql_whose_author_declares_it_is_reused_where_rows_tie(tmp_path: Path) -> None:
    made = asked(tmp_path, "SELECT a, b FROM t ORDER BY a LIMIT 1", reuse={"maxAge": "1h", "deterministic": True})
    assert run(made).committed
    again = run(made.model_copy(update={"job": made.job.model_copy(update={"uid": "u2"})}))
    assert again.reuse and again.reuse.reused, again.reuse


def test_what_runs_on_a_cluster_of_somebody_else_is_never_reused(tmp_path: Path) -> None:
    dask = {"way": "attach", "workers": 1, "scheduler": "tcp://s:8786"}
    made = asked(tmp_path).model_copy(update={"dask": Dask.model_validate(dask)})
    found, told = reusing.looked(made, None, None, ({}, {}))  # type: ignore[arg-type]
    assert found is None and "external Dask cluster" in told.differs


def test_a_job_that_reused_leaves_the_first_one_to_be_named(tmp_path: Path) -> None:
    first = asked(tmp_path).model_copy(update={"job": JobRef(namespace="marts", name="first", uid="u1")})
    assert run(first).committed
    for uid in ("u2", "u3"):
        made = asked(tmp_path).model_copy(update={"job": JobRef(namespace="marts", name="later", uid=uid)})
        report = run(made)
        assert report.reuse and report.reuse.reused and report.reuse.job == "marts/first"
    assert [path.name for path in (tmp_path / "out/_receipts").iterdir()] == ["u1.json"]


def test_another_version_of_a_library_is_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(asked(tmp_path)).committed
    version = receipts.version
    monkeypatch.setattr(receipts, "version", lambda name: "9.9" if name == "polars" else version(name))
    report = run(asked(tmp_path))
    assert report.reuse and report.reuse.differs.startswith("software polars: ")


def test_where_nothing_may_exist_the_same_result_may_and_another_one_may_not(tmp_path: Path) -> None:
    output = {"mode": "errorIfExists"}
    first = run(asked(tmp_path, output=output))
    assert first.committed
    again = run(asked(tmp_path, output=output))
    assert again.committed == first.committed and again.reuse and again.reuse.reused
    other: Report = run(asked(tmp_path, QUERY + " AND a < 9", output=output))
    assert other.failure is Failure.OUTPUT_EXISTS
    assert other.reuse and other.reuse.differs.startswith("query: another text")
    unrun = local.preflight(asked(tmp_path, "def query(i, p): ...", language="python", output=output), runs_code=False)
    assert unrun.failure is Failure.OUTPUT_EXISTS


def test_files_whose_store_tells_no_version_are_never_compared(tmp_path: Path) -> None:
    from gpuquery.api.reuse import Reuse
    from gpuquery.runner import inputs

    made = asked(tmp_path)
    (one,) = inputs.resolve(made.inputs, made.store, {}).values()
    unknown = one.__class__(one.item, tuple(file._replace(version="") for file in one.files), one.reading)
    reuse = Reuse(max_age="1h")
    assert reusing.repeatable(reuse, "", "", {"t": one}) == ""
    assert "does not tell when a file was replaced" in reusing.repeatable(reuse, "", "", {"t": unknown})


@pytest.mark.parametrize("output", [{}, {"delta": {}}])
def test_folders_of_strange_values_are_found_again(tmp_path: Path, output: dict[str, Any]) -> None:
    query = "SELECT a, unnest(['a/b', 'ä ö', '50%=x', NULL]) AS k FROM t"
    made = asked(tmp_path, query, output={**output, "partitionBy": ["k"]})
    first = run(made)
    assert first.committed and first.committed.partitions == 4, first.message
    again = run(made.model_copy(update={"job": made.job.model_copy(update={"uid": "u2"})}))
    assert again.reuse and again.reuse.reused and again.committed == first.committed, again.reuse


def test_another_key_of_encryption_is_another_way_to_write(tmp_path: Path) -> None:
    made = asked(tmp_path)
    assert run(made).committed
    store = made.store.model_copy(update={"sse_kms_key_id": "alias/new"})
    draft = receipts.draft(made.model_copy(update={"store": store}), queries.prepare(made), {})
    then = receipts.draft(made, queries.prepare(made), {})
    assert [one.text for one in deciding(then, draft)] == ["output.sseKmsKeyId: not set then, alias/new now"]


def test_a_delta_table_is_reused_while_it_holds_the_rows_of_one_job_alone(tmp_path: Path) -> None:
    output = {"delta": {}}
    first = run(asked(tmp_path, output=output))
    assert first.committed, first.message
    again = run(asked(tmp_path, output=output))
    assert again.reuse and again.reuse.reused and again.committed == first.committed, again.reuse
    assert run(asked(tmp_path, reuse=None, output={**output, "mode": "append"})).committed
    mixed = run(asked(tmp_path, output=output))
    assert mixed.committed and mixed.reuse and "is not the work of one job" in mixed.reuse.differs
    for path in (tmp_path / "out/data").rglob("*.parquet"):
        path.unlink()
    gone = run(asked(tmp_path, output=output))
    assert gone.reuse and not gone.reuse.reused
