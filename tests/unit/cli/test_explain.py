"""`gpuquery explain`: the plan of a job's SQL, who can run it, and its picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import yaml

from gpuquery.cli import main
from gpuquery.cli.picture import dot, svg
from gpuquery.runner.query.sql.rules.explain import Step

if TYPE_CHECKING:
    from pathlib import Path

SQL = """SELECT status, sum(price) AS total, row_number() OVER (ORDER BY sum(price)) AS place
FROM orders JOIN lines ON orders.id = lines.id WHERE price > 15 GROUP BY status"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"id": [1, 2], "status": ["F", "O"]}).write_parquet("orders.parquet")
    pl.DataFrame({"id": [1, 2, 2], "price": [10.0, 20.0, 30.0]}).write_parquet("lines.parquet")

    def written(*queries: dict[str, str]) -> str:
        inputs = [{"name": name, "uri": f"file://{name}.parquet"} for name in ("orders", "lines")]
        jobs = [
            {
                "apiVersion": "gpuquery.io/v1alpha1",
                "kind": "GpuQueryJob",
                "metadata": {"name": f"job-{number}"},
                "spec": {"query": query, "inputs": inputs, "output": {"uri": "file://out"}},
            }
            for number, query in enumerate(queries)
        ]
        (tmp_path / "job.yaml").write_text(yaml.safe_dump_all(jobs))
        return "job.yaml"

    return written


def test_the_tree_says_what_is_read_with_which_condition_and_how_many_rows(write: Any, capsys: Any) -> None:
    assert main(["explain", write({"sql": SQL})]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("job-0\n")
    for part in ("read lines", "rows where price > 15", "INNER join on", "group by status", "rows)"):
        assert part in shown


def test_it_says_who_can_run_the_query_and_which_part_runs_alone(write: Any, capsys: Any) -> None:
    assert main(["explain", write({"sql": SQL})]) == 0
    shown = capsys.readouterr().out
    assert "runs on    cpu, RAPIDS" in shown
    assert "row_number() runs on one partition" in shown


def test_it_says_who_cannot_run_the_query_and_why(write: Any, capsys: Any) -> None:
    recursive = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r"
    assert main(["explain", "-o", "json", write({"sql": recursive})]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    verdicts = {one["where"]: one for one in told["where"]}
    assert verdicts["cpu"]["able"]
    assert not any(one["able"] for where, one in verdicts.items() if where != "cpu")
    assert "cpu" in verdicts["RAPIDS 26.02 to 26.10"]["because"]
    assert "no decimals" in verdicts["RAPIDS 25.08"]["because"]


def test_a_dialect_is_explained_in_the_words_of_the_plan(write: Any, capsys: Any) -> None:
    assert main(["explain", write({"sql": "SELECT nvl(status, 'x') AS s FROM orders", "dialect": "spark"})]) == 0
    assert "read orders" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param({"sql": "SELECT nope FROM orders"}, ["line 1, column 8", "nope"], id="a wrong column"),
        pytest.param({"sql": "SELECT id FROM orders", "dialect": "polars"}, ["Polars' own SQL"], id="Polars' own SQL"),
        pytest.param({"python": "def query(inputs, params): return inputs['orders']"}, ["gpuquery plan"], id="Python"),
    ],
)
def test_what_has_no_plan_fails_in_words(write: Any, capsys: Any, query: dict[str, str], words: list[str]) -> None:
    assert main(["explain", write(query)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    for word in words:
        assert word in told.err


def test_a_picture_is_of_one_job(write: Any, capsys: Any) -> None:
    assert main(["explain", "-o", "svg", write({"sql": SQL}, {"sql": SQL})]) == 2
    assert "picture of one job" in capsys.readouterr().err


def test_a_picture_is_a_document_with_a_box_for_each_step(write: Any, capsys: Any) -> None:
    assert main(["explain", "-o", "svg", write({"sql": SQL})]) == 0
    root = ET.fromstring(capsys.readouterr().out)
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "read orders" in texts
    assert len(list(root.iter(f"{space}rect"))) == len(list(root.iter(f"{space}path"))) + 1


AWKWARD = Step('a "quoted" <step> \\', ("it's & more", "x" * 300), 1234567.0, (Step("below", leads_to="left"),))


def test_no_text_of_a_plan_breaks_a_picture() -> None:
    root = ET.fromstring(svg(AWKWARD, "job <1>"))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert 'a "quoted" <step> \\' in texts
    assert "~1.23M rows" in texts
    graph = dot(AWKWARD, 'job "1"')
    assert graph.startswith('digraph "job \\"1\\"" {')
    assert 'n1 -> n0 [label="left"];' in graph


def test_boxes_of_a_picture_do_not_lie_on_each_other() -> None:
    leaf = Step("a leaf with a title of some length")
    tree = Step("top", steps=(Step("left", steps=(leaf, leaf)), Step("right", steps=(leaf,)), leaf))
    boxes = [
        tuple(int(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in ET.fromstring(svg(tree, "x")).iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert len(boxes) == 8 - 1
    for number, (x, y, wide, high) in enumerate(boxes):
        for a, b, across, down in boxes[number + 1 :]:
            assert x + wide <= a or a + across <= x or y + high <= b or b + down <= y
