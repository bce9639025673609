"""Job files are read as kubectl reads them; what kubectl makes of each text was recorded from kubectl itself.

`tests/e2e/test_docs_commands.py` asks the cluster's own kubectl again.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuquery.cli import main
from gpuquery.cli.documents import MAX_CHARACTERS, MAX_DEPTH, load_all
from tests.support.job_tables import job

RECORDED = json.loads((Path(__file__).parent / "kubectl_yaml.json").read_text())["answers"]
HEAD = "apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec:\n"
STRICTER = ("appears twice", "without quotes, is not a field name")
LOOSER = {"  a: [a?, ?b]\n": "libyaml takes a question mark where a key may begin"}


def outcome(text: str) -> Any:
    """What is read of a text, or why it is not."""
    try:
        return load_all(HEAD + text)[0].value["spec"]
    except yaml.YAMLError as error:
        return f"refused: {' '.join(str(error).split())}"


@pytest.mark.parametrize("answer", RECORDED, ids=lambda answer: repr(answer["yaml"].strip())[:60])
def test_a_text_is_read_as_kubectl_reads_it_or_refused_with_a_way_out(answer: dict[str, Any]) -> None:
    got = outcome(answer["yaml"])
    if answer["yaml"] in LOOSER:
        assert "refused" in answer and isinstance(got, dict), LOOSER[answer["yaml"]]
    elif isinstance(got, str):
        assert "refused" in answer or any(words in got for words in STRICTER), got
    else:
        assert got == pytest.approx(answer["read"]) if _numeric(got) else got == answer["read"]
        assert json.dumps(got, sort_keys=True).count("true") == json.dumps(answer["read"]).count("true"), (
            "1 is not true"
        )


def _numeric(value: Any) -> bool:
    return isinstance(value, dict) and all(type(v) in (int, float) for v in value.values())


def test_dates_moments_and_versions_in_quotes_stay_texts() -> None:
    assert outcome("  {d: 1994-01-01, r: '26.10', t: 1994-01-01T12:00:00}\n") == {
        "d": "1994-01-01", "r": "26.10", "t": "1994-01-01T12:00:00",
    }  # fmt: skip


PARAMETERS = "  query: {{sql: SELECT n_name FROM nation WHERE n_key = :n}}\n  parameters: {{{name}: {{integer: 5}}}}\n"
TEXT = (
    "apiVersion: gpuquery.io/v1alpha1\nkind: GpuQueryJob\nmetadata: {name: x}\nspec:\n"
    '  inputs: [{name: nation, uri: "s3://lake/nation.parquet"}]\n  output: {uri: "s3://lake/out"}\n'
)
SELECT = "  query: {sql: SELECT 1 FROM nation}\n"
SURPRISES = [
    pytest.param(PARAMETERS.format(name="n"), "the name n", "boolean false", id="a name that is false"),
    pytest.param(SELECT + "  runtime: {release: 26.10}\n", "26.10", "number 26.1", id="a release that is a number"),
    pytest.param(SELECT + "  template: {metadata: {labels: {c: NO}}}\n", "NO", "boolean false", id="Norway"),
    pytest.param(
        SELECT + "  template: {spec: {env: [{name: A, value: 0x1F}]}}\n", "0x1F", "number 31", id="a hexadecimal number"
    ),
]


@pytest.mark.parametrize(("rest", "word", "means"), SURPRISES)
def test_validate_says_what_a_word_without_quotes_means_and_to_put_it_in_quotes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rest: str, word: str, means: str
) -> None:
    (tmp_path / "job.yaml").write_text(TEXT + rest)
    assert main(["validate", str(tmp_path / "job.yaml")]) == 2
    says = f"line 8: {word}, without quotes, is the {means} to kubectl: put it in quotes"
    assert says in capsys.readouterr().err


def test_in_quotes_a_name_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(TEXT + PARAMETERS.format(name='"n"'))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


def test_a_boolean_may_be_written_as_kubectl_takes_it(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(TEXT + "  query: {sql: SELECT n_name FROM nation}\n  dryRun: yes\n")
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


def bomb(levels: int, width: int, seed: str) -> str:
    """Every level is a list of the one before, several times."""
    lines = [f"a0: &a0 {seed}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "a billion laughs": bomb(10, 9, "[lol, lol]"),
    "a billion empty texts": bomb(10, 9, '""'),
    "a billion nulls": bomb(10, 9, ""),
    "a billion empty lists": bomb(10, 9, "[]"),
    "a few huge texts": f'a: &a "{"x" * 1_000_000}"\nb: [{", ".join(["*a"] * 1000)}]\n',
    "mappings that merge": "a: &a {" + ", ".join(f"k{n}: {n}" for n in range(1000)) + "}\n"
    + "b: [" + ", ".join(["{<<: *a}"] * 5000) + "]\n",
    "brackets without end": "a: " + "[" * 100_000,
    "brackets that end": "a: " + "[" * 50_000 + "]" * 50_000,
    "a list of lists as deep as no object is": "\n".join(" " * n + "-" for n in range(2000)),
    "more than any file": "# " + "x" * (MAX_CHARACTERS + 10),
    "a value that contains itself": "a: &a [*a]\n",
}  # fmt: skip


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
@pytest.mark.parametrize("beside", [False, True], ids=["the file", "the file of --configmap"])
def test_a_file_that_explodes_is_refused_within_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, beside: bool
) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job()))
    began = time.process_time()
    words = ["job.yaml", "--configmap", "bomb.yaml"] if beside else ["bomb.yaml"]
    assert main(["validate", *(str(tmp_path / w) if w.endswith(".yaml") else w for w in words)]) == 2
    assert time.process_time() - began < 1
    told = capsys.readouterr().err
    assert "bomb.yaml: not YAML" in told and len(told) < 500


def test_a_file_without_end_is_read_to_its_bound_alone(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["validate", "/dev/zero"]) == 2
    assert time.monotonic() - began < 5
    assert "/dev/zero: " in capsys.readouterr().err


def test_aliases_that_repeat_little_are_taken(tmp_path: Path) -> None:
    text = yaml.safe_dump(job(template={"metadata": {"labels": {"a": "b"}}}))
    (tmp_path / "job.yaml").write_text("x-labels: &labels {team: lake}\n---\n" + text)
    assert load_all("a: &a [1, {b: 2}]\nc: [*a, *a]\n")[0].value["c"] == [[1, {"b": 2}]] * 2
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


def test_an_object_is_taken_as_deep_as_objects_are() -> None:
    assert load_all("[" * MAX_DEPTH + "]" * MAX_DEPTH)[0].value
    with pytest.raises(yaml.YAMLError, match="nested deeper"):
        load_all("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "ConfigMap", "metadata": "x", "data": {}},
        {"kind": "ConfigMap", "metadata": {"name": ["x"]}, "data": ["a"]},
        {"kind": "ConfigMap", "metadata": {"name": "q"}, "data": "text"},
        {"kind": ["GpuQueryJob"]},
        {"kind": "GpuQueryJob", "apiVersion": "gpuquery.io/v1alpha1", "metadata": ["x"]},
        {"kind": "GpuQueryJob", "apiVersion": "gpuquery.io/v1alpha1", "metadata": {"name": {"x": 1}}},
        {"kind": "GpuQueryJob", "apiVersion": ["x"], "metadata": {"name": "x"}},
        {"kind": "GpuQueryJob", "apiVersion": "gpuquery.io/v1alpha1", "metadata": {"generateName": ["x"]}, "spec": 5},
    ],
    ids=lambda document: json.dumps(document)[:60],
)
def test_no_object_of_a_wrong_shape_ends_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: dict[str, Any]
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 2
    assert "job.yaml" in capsys.readouterr().err


def test_what_is_no_utf_8_on_standard_input_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: \xff\n"), "utf-8", errors="surrogateescape"))
    assert main(["validate", "-"]) == 2
    assert "standard input: not UTF-8" in capsys.readouterr().err
