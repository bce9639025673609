"""`gpuquery receipt` and `gpuquery diff`, with receipts from everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.receipt import ReceiptClaim
from gpuquery.cli import main
from tests.support.fake_kubectl import FakeCluster, cluster
from tests.support.kube_objects import COMMITTED, attempt, ended, job, running, seen, step
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan

__all__ = ["cluster"]
PATH = "/apis/gpuquery.io/v1alpha1/namespaces/{}/gpuqueryjobs/{}"


def ran(folder: Path, query: str = "SELECT a FROM t", **changes: Any) -> Plan:
    """A job that has run in this process, over a file that is there."""
    folder.mkdir(exist_ok=True)
    (folder / "t.csv").write_text("a,b\n1,x\n2,y\n")
    made = plan(folder, query, **{"inputs": {"t": f"file://{folder}/t.csv"}, **changes})
    assert run(made).committed
    return made


def finished(folder: Path, uid: str, **spec: Any) -> dict[str, Any]:
    """The object of a job that has ended."""
    claim = ReceiptClaim(query="1" * 64, key="2" * 64, committing=2.0)
    report = COMMITTED.model_copy(update={"receipt": claim})
    subject, _ = step(job(metadata={"uid": uid}, preflight="never"))
    subject, _ = step(subject, seen(attempt(running())), seconds=30)
    subject, _ = step(subject, seen(attempt(ended(0, report, image="r@sha256:abc"))), seconds=100)
    told = json.loads(subject.model_dump_json(by_alias=True, exclude_none=True)) | {"kind": "GpuQueryJob"}
    told["spec"] |= {"output": {"uri": f"file://{folder}/out"}, **spec}
    return told


@pytest.mark.parametrize("form", ["the output", "the receipt", "a file"])
def test_a_receipt_is_read_from_the_store_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    made = ran(tmp_path, parameters={"n": {"integer": 7}}, query="SELECT a, :n AS n FROM t")
    where = {
        "the output": f"file://{tmp_path}/out",
        "the receipt": f"file://{tmp_path}/out/_receipts/{made.job.uid}.json",
        "a file": f"{tmp_path}/out/_receipts/{made.job.uid}.json",
    }[form]
    assert main(["receipt", where]) == 0
    text = capsys.readouterr().out
    assert "2 rows in 1 file," in text and "n: integer 7" in text and "t: 1 file," in text and made.job.uid in text
    assert main(["receipt", where, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"]["uid"] == made.job.uid


def test_a_job_of_the_cluster_has_a_small_one_and_the_whole_one_in_its_store(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ran(tmp_path)
    cluster.tells(PATH.format("lake", "revenue"), finished(tmp_path, made.job.uid))
    assert main(["receipt", "revenue"]) == 0
    small = capsys.readouterr().out
    assert "r@sha256:abc" in small and "starting 30.0" in small and "input" not in small
    assert main(["receipt", "lake/revenue", "--uri", "-o", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["inputs"][0]["name"] == "t" and whole["image"] == "r@sha256:abc"
    assert whole["seconds"]["committing"] == 2.0 and "planning" in whole["seconds"]


NOT_THERE: list[Any] = [
    pytest.param("nothing.json", "cannot be read", id="a file that is not there"),
    pytest.param("bad.json", "it is no receipt", id="a file that is none"),
    pytest.param("file://{}/empty", "there is no receipt", id="a folder without any"),
    pytest.param("other", "not found", id="a job that is not there"),
    pytest.param("young", "only a commit has one", id="a job that has committed nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "why"), NOT_THERE)
def test_where_there_is_no_receipt_it_is_said_why(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], what: str, why: str
) -> None:
    (tmp_path / "bad.json").write_text('{"format": 1}')
    young = json.loads(job().model_dump_json(by_alias=True, exclude_none=True))
    cluster.tells(PATH.format("lake", "young"), young)
    what = f"{tmp_path}/{what}" if what.endswith(".json") else what.format(tmp_path)
    assert main(["receipt", what]) == 2
    assert why in capsys.readouterr().err


def test_what_differs_is_said_and_the_exit_code_says_whether_anything_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "a")
    ran(tmp_path / "b", "select  a from t -- the same")
    first, second = f"file://{tmp_path}/a/out", f"file://{tmp_path}/b/out"
    assert main(["diff", first, first]) == 0
    assert capsys.readouterr().out == "nothing differs\n"
    assert main(["diff", first, second]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rows  input t: file://") and not any("query" in line for line in lines)
    assert main(["diff", first, second, "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["what"] == "input"


def test_the_receipt_of_a_job_and_the_one_in_its_store_differ_in_nothing_but_what_only_one_knows(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ran(tmp_path)
    whole = json.loads((tmp_path / f"out/_receipts/{made.job.uid}.json").read_text())
    told = finished(tmp_path, made.job.uid, query={"sql": made.query})
    told["status"]["receipt"]["query"] = whole["query"]["sha256"]
    told["status"]["plan"]["queryDigest"] = whole["query"]["text"]
    told["status"]["output"] |= {name: whole.get(name, 0) for name in ("version", "rows", "bytes", "files")}
    told["status"]["output"]["partitions"] = 0
    told["spec"]["inputs"] = [{"name": "t", "uri": f"file://{tmp_path}/t.csv"}]
    told["status"]["inputs"] = [
        {"name": "t", "files": 1, "bytes": 12, "digest": whole["inputs"][0]["digest"][:16]}
    ]  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(told))
    main(["diff", f"{tmp_path}/job.json", f"file://{tmp_path}/out"])
    assert capsys.readouterr().out == "nothing differs\n"


def without(*names: str) -> Any:
    return lambda receipt: {name: value for name, value in receipt.items() if name not in names}


OTHERS: list[Any] = [
    pytest.param(without("software", "varies", "image", "seconds", "gpuSeconds"), 0, "nothing", id="an older one"),
    pytest.param(lambda one: one | {"later": {"x": 1}}, 0, "nothing differs", id="one with a field more"),
    pytest.param(lambda one: one | {"format": 2}, 2, "no receipt that this version of gpuquery reads: its format is 2",
                 id="one of a later form"),
    pytest.param(lambda one: one | {"format": [2] * 999}, 2, "its format is [2, 2,", id="one of a strange form"),
    pytest.param(without("query"), 2, "is no receipt: query: Field required", id="one without a query"),
    pytest.param(lambda one: one | {"rows": 7}, 1, "result: 5 rows more (2 then, 7 now)", id="one with other rows"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "says"), OTHERS)
def test_receipts_of_other_versions_are_compared_by_what_both_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, code: int, says: str
) -> None:
    made = ran(tmp_path)
    whole = json.loads((tmp_path / f"out/_receipts/{made.job.uid}.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(change(whole)))
    assert main(["diff", f"file://{tmp_path}/out", f"{tmp_path}/other.json"]) == code
    said = capsys.readouterr()
    assert says in said.out + said.err and len(said.err) < 600


def test_a_job_without_a_small_receipt_has_the_whole_one_and_one_that_reused_names_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ran(tmp_path)
    told = finished(tmp_path, made.job.uid)
    told["status"]["receipt"] = {}
    file = tmp_path / "job.json"
    file.write_text(json.dumps(told))
    assert main(["receipt", str(file)]) == 2
    assert "--uri reads the whole one" in capsys.readouterr().err
    assert main(["receipt", str(file), "--uri"]) == 0
    assert made.job.uid in capsys.readouterr().out
    told["status"]["receipt"] = {"reused": "marts/first"}
    file.write_text(json.dumps(told))
    assert main(["receipt", str(file), "--uri"]) == 2
    assert "reused the commit of marts/first" in capsys.readouterr().err


def test_two_jobs_of_the_cluster_are_compared_by_what_their_objects_tell(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    since = {"since": {"date": "1994-01-01"}}
    cluster.tells(PATH.format("lake", "a"), finished(tmp_path, "u1", parameters=since))
    cluster.tells(PATH.format("lake", "b"), finished(tmp_path, "u2", parameters={"since": {"date": "1995-01-01"}}))
    assert main(["diff", "a", "b"]) == 1
    assert capsys.readouterr().out == "rows  parameter since: date 1994-01-01 then, date 1995-01-01 now\n"
    assert main(["diff", "a", "a"]) == 0
