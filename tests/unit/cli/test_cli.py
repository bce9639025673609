"""The command line: what it says, where it says it, and with which exit code it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from gpuquery.cli import main
from tests.support.job_tables import REQUIRED, job

if TYPE_CHECKING:
    from pathlib import Path

SQL = {"sql": "SELECT y, sum(v) AS v FROM t WHERE v >= :least GROUP BY y"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small table, which is also the current one."""
    (tmp_path / "data").mkdir()
    pl.DataFrame({"y": [1, 1, 2], "v": [1.0, 2.0, 3.0]}).write_parquet(tmp_path / "data" / "a.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    return tmp_path


def local(**spec: Any) -> dict[str, Any]:
    """Return a job over the folder's table, with places relative to its file."""
    places = {"inputs": [{"name": "t", "uri": "file://data/*.parquet"}], "output": {"uri": "file://out"}}
    return job(**{"query": SQL, "parameters": {"least": {"number": 1}}, **places, **spec})


def write(path: Path, *documents: Any) -> str:
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def test_run_commits_next_to_the_file_wherever_it_is_called_from(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(here / "job.yaml", local())
    monkeypatch.chdir("/")
    assert main(["run", file]) == 0
    out, err = capsys.readouterr()
    assert f"file://{here}/out/data/: version 1, 2 rows" in out
    assert "running" in err, "progress goes to standard error"
    assert pl.read_parquet(here / "out" / "data").sort("y")["v"].to_list() == [3.0, 3.0]


def test_run_prints_json_and_nothing_else_to_standard_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", write(here / "job.yaml", local()), "-o", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["job"] == "table-job"
    assert result["committed"]["rows"] == 2


def test_a_job_that_fails_ends_with_1_and_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(here / "job.yaml", local())
    assert main(["run", file]) == 0
    assert main(["run", file]) == 1
    assert "table-job: OutputExists: the output has version 1" in capsys.readouterr().err


def test_the_same_uid_finds_its_own_commit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(here / "job.yaml", local())
    assert [main(["run", file, "--uid", "mine"]) for _ in range(2)] == [0, 0]
    assert sum(1 for _ in (here / "out" / "_commits").glob("*.json")) == 1


def test_several_jobs_run_one_after_the_other_and_one_failure_decides(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**local(query={"sql": "SELECT w FROM t WHERE v > :least"}), "metadata": {"name": "bad"}}
    good = local(output={"uri": "file://other"})
    assert main(["run", write(here / "job.yaml", bad, good), "-o", "json"]) == 1
    results = json.loads(capsys.readouterr().out)
    assert [("committed" in r) for r in results] == [False, True]


def test_no_job_runs_where_one_of_them_is_rejected(here: Path) -> None:
    bad = {**local(query={"configMapKeyRef": {"name": "q", "key": "q.sql"}}), "metadata": {"name": "bad"}}
    assert main(["run", write(here / "job.yaml", local(), bad)]) == 2
    assert not (here / "out").exists()


def test_a_query_comes_from_a_configmap_in_the_file_or_beside_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "q"}, "data": {"q.sql": SQL["sql"]}}
    wanted = local(query={"configMapKeyRef": {"name": "q", "key": "q.sql"}})
    assert main(["validate", write(here / "both.yaml", config_map, wanted)]) == 0
    alone, beside = write(here / "job.yaml", wanted), write(here / "map.yaml", config_map)
    assert main(["validate", alone, "--configmap", beside]) == 0
    capsys.readouterr()
    assert main(["validate", alone]) == 2
    assert "no ConfigMap 'q'" in capsys.readouterr().err


def test_a_configmap_without_the_key_says_which_it_has(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_map = {"kind": "ConfigMap", "metadata": {"name": "q"}, "data": {"other.sql": "SELECT 1"}}
    wanted = local(query={"configMapKeyRef": {"name": "q", "key": "q.sql"}})
    assert main(["validate", write(here / "job.yaml", config_map, wanted)]) == 2
    assert "has no key 'q.sql'; it has other.sql" in capsys.readouterr().err


INVALID: list[Any] = [
    pytest.param(
        local(output={"uri": "file://out", "mode": "overwriteee"}),
        'spec.output.mode: "overwriteee" is not one of errorIfExists, append, overwrite, overwritePartitions (did you '
        "mean overwrite?)",
        id="a value that is nearly one",
    ),
    pytest.param(local(enginee="cpu"), "spec.enginee: unknown field (did you mean engine?)", id="a typo"),
    pytest.param({**local(), "spec": {"query": SQL}}, "spec.output: is required", id="a field that is missing"),
    pytest.param({**local(), "apiVersion": "v1"}, "apiVersion: 'v1' is not 'gpuquery.io/v1alpha1'", id="a version"),
    pytest.param({**local(), "metadata": {}}, "metadata.name: is required", id="no name"),
    pytest.param(
        {**local(), "metadata": {"name": "Day_1"}}, 'metadata.name: "Day_1" is no name: lower', id="a bad name"
    ),
    pytest.param(
        {**local(), "metadata": {"name": "x", "namespace": "a.b"}}, 'metadata.namespace: "a.b" is no', id="a namespace"
    ),
    pytest.param(
        local(template={"spec": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}}}),
        f"nodeAffinity.{REQUIRED}.nodeSelectorTerms: needs 1 item at least, and has none",
        id="a list without items",
    ),
    pytest.param(
        local(executorOptions={f"o{n}": 1 for n in range(65)}),
        "spec.executorOptions: takes 64 items at most, and has 65",
        id="a map with too many items",
    ),
    pytest.param(local(backoffLimit=-1), "spec.backoffLimit: input should be greater", id="a bound"),
    pytest.param(
        local(workers={"gpus": "2"}),
        'spec.workers.gpus: input should be a valid integer; it is "2"',
        id="a number in quotes, which the API server refuses",
    ),
    pytest.param(
        local(dryRun="yes"),
        'spec.dryRun: input should be a valid boolean; it is "yes"',
        id="a text for a boolean, which the API server refuses",
    ),
    pytest.param(
        local(dry_run=True),
        "spec.dry_run: unknown field (did you mean dryRun?)",
        id="a name that is the model's and not the object's",
    ),
    pytest.param(
        local(output={"uri": "file://./data"}), "spec.output: an input lies inside", id="folders that are one"
    ),
    pytest.param(local(query={"sql": "SELEC 1"}), "InvalidQuery: ", id="SQL that does not parse"),
    pytest.param(local(query={"sql": "SELECT * FROM u"}), "InvalidQuery: ", id="a table that is not declared"),
    pytest.param(local(parameters={}), "least", id="a parameter that is not bound"),
    pytest.param(local(parameters={"least": {"date": "1994-02-31"}}), "1994-02-31", id="a day that does not exist"),
    pytest.param(local(query={"python": "def query(:"}), "line 1", id="Python that does not compile"),
]


@pytest.mark.parametrize(("document", "says"), INVALID)
def test_validate_names_file_field_value_and_way_out(
    here: Path, capsys: pytest.CaptureFixture[str], document: dict[str, Any], says: str
) -> None:
    assert main(["validate", write(here / "job.yaml", document)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith(str(here / "job.yaml"))


def test_validate_tells_each_of_several_problems_on_a_line_of_its_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"falback_mode": "raise", "max_rows": 1}
    spec = {"engine": "rapidsmpf", "runtime": {"release": "26.10"}, "executorOptions": options}
    assert main(["validate", write(here / "job.yaml", local(**spec))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("InvalidCombination: executorOptions." in line for line in lines), lines


def test_validate_refuses_a_spec_that_is_too_large_with_its_largest_fields(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"p{number}": {"string": "x" * 65_000} for number in range(8)}
    assert main(["validate", write(here / "job.yaml", local(parameters=texts))]) == 2
    assert "spec is too large: 520," in (err := capsys.readouterr().err) and "(largest: parameters 520," in err


def test_validate_judges_every_job_of_every_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {**local(query={"sql": "SELEC"}), "metadata": {"name": "bad"}}
    files = [write(here / "a.yaml", bad, local()), write(here / "b.yaml", local(enginee="x"))]
    assert main(["validate", *files, "-o", "json"]) == 2
    results = json.loads(capsys.readouterr().out)
    assert [(r["job"], r["valid"]) for r in results] == [("bad", False), ("table-job", True), (None, False)]


def test_validate_runs_no_code_of_the_job(here: Path) -> None:
    source = "open('ran', 'w')\ndef query(inputs, params): ..."
    assert main(["validate", write(here / "job.yaml", local(query={"python": source}, parameters={}))]) == 0
    assert not (here / "ran").exists()


def test_validate_says_that_a_cluster_takes_no_local_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", write(here / "job.yaml", local())]) == 0
    assert "a pod has no such file" in capsys.readouterr().err


def test_standard_input_is_a_file_too(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump(local())))
    assert main(["validate", "-"]) == 0


def test_a_date_without_quotes_is_the_text_that_kubectl_sends(here: Path) -> None:
    text = yaml.safe_dump(local(query={"sql": "SELECT y FROM t WHERE :d > '1990-01-01'"}, parameters={}))
    (here / "job.yaml").write_text(text.replace("parameters: {}", "parameters: {d: {date: 1994-01-01}}"))
    assert main(["validate", "job.yaml"]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not YAML"),
        ("kind: GpuQueryJob\nkind: x", "'kind' appears twice"),
        ("kind: ConfigMap\nmetadata:\n", "holds no GpuQueryJob"),
        ("", "holds no GpuQueryJob"),
        ("- just\n- a list", "holds no GpuQueryJob"),
    ],
)
def test_a_file_that_is_no_job_file_says_so(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    (here / "job.yaml").write_text(text)
    assert main(["validate", "job.yaml"]) == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: cannot be read: No such file" in capsys.readouterr().err


def test_render_prints_the_three_children_without_anchors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(here / "job.yaml", job())
    assert main(["render", file, "--runtime-image", "example.com/runtime:1"]) == 0
    out = capsys.readouterr().out
    assert [d["kind"] for d in yaml.safe_load_all(out)] == ["NetworkPolicy", "Job", "ConfigMap"]
    assert "example.com/runtime:1" in out
    assert "&id" not in out
    assert main(["render", file, "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 3


def test_render_refuses_what_a_pod_cannot_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", write(here / "job.yaml", local())]) == 2
    assert "a pod has no such file" in capsys.readouterr().err


def test_crd_prints_the_definition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["kind"] == "CustomResourceDefinition"


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    assert "1    a job failed" in capsys.readouterr().out


def script(body: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, cwd=cwd, timeout=60)


CALL = (
    "import sys; from gpuquery.cli import main; code = 0\n"
    "for words in {}:\n"
    "    code = code or main(words); print(words[0], sorted(set({}) & set(sys.modules)), file=sys.stderr)\n"
    "sys.exit(code)"
)


@pytest.mark.parametrize(
    ("verbs", "foreign"),
    [
        ([["crd"], ["render", "cluster.yaml"]], {"polars", "kopf", "kubernetes", "boto3", "sqlglot"}),
        ([["validate", "cluster.yaml"], ["run", "local.yaml"]], {"kopf", "kubernetes"}),
    ],
)
def test_a_command_imports_only_what_it_needs(here: Path, verbs: list[list[str]], foreign: set[str]) -> None:
    write(here / "cluster.yaml", job())
    write(here / "local.yaml", local())
    done = script(CALL.format(verbs, sorted(foreign)), cwd=here)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.endswith("]")] == [f"{words[0]} []" for words in verbs]


def test_a_missing_extra_is_named(here: Path) -> None:
    done = script("import sys; sys.modules['polars'] = None; " + CALL.format([["run", "x.yaml"]], []), cwd=here)
    assert done.returncode == 2
    assert "pip install 'gpuquery[runner]'" in done.stderr


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    program = f"{sys.executable} -c 'import sys; from gpuquery.cli import main; sys.exit(main([\"crd\"]))' | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_plan_tells_what_would_become_of_a_job_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", write(here / "job.yaml", local(engine="cpu"))]) == 0
    out = capsys.readouterr().out
    assert "table-job" in out and "cpu x single" in out
    assert "1 files with 3 rows" in out and "no GPU" in out
    assert not (here / "out").exists()


def test_plan_of_a_release_tells_gpus_cost_and_what_this_machine_cannot_check(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", write(here / "job.yaml", local()), "--release", "26.10", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["plan"]["engine"], told["plan"]["release"], told["plan"]["gpus"]) == ("rapidsmpf", "26.10", 1)
    assert told["preflight"]["rows"] == 3
    assert told["cost"]["gpus"] == 1 and told["cost"]["gpuHours"] > 0 and "assumptions" in told["cost"]["basis"]
    assert "no cudf-polars" in told["preflight"]["warnings"][0]


def test_plan_ends_with_1_where_the_preflight_fails_and_with_2_where_the_job_is_rejected(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = {"name": "t", "uri": "file://data/*.parquet", "schema": {"columns": {"v": {"type": "Date"}}}}
    assert main(["plan", write(here / "job.yaml", local(inputs=[contract], engine="cpu"))]) == 1
    captured = capsys.readouterr()
    assert "checks    failed: SchemaMismatch" in captured.out and 'column "v": wanted Date' in captured.err
    assert main(["plan", write(here / "job.yaml", local(engine="tasks")), "--release", "26.10"]) == 2
    assert "tasks" in capsys.readouterr().err
