"""What the documentation shows is right: jobs validate, SQL runs, Python reads, links lead somewhere."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from gpuquery.api.reasons import Failure
from gpuquery.cli import main
from gpuquery.plan import guide
from tools.kubectl import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        for number, (found, text) in enumerate(FENCE.findall(page.read_text()), 1):
            if found == language:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}:{number}")


def jobs() -> list[Any]:
    return [block for block in blocks("yaml") if "kind: GpuQueryJob" in str(block.values[0])]


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables that docs/sql.md speaks of, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    days = [dt.date(1994, 1, 5), dt.date(1994, 3, 1), dt.date(1995, 3, 1), dt.date(1996, 12, 31)]
    pl.DataFrame(
        {
            "o_orderkey": [1, 2, 3, 4],
            "o_custkey": [1, 1, 2, 3],
            "o_status": ["F", "F", "O", "O"],
            "o_orderdate": days,
            "o_total": [10.5, 30.0, 20.0, 25.0],
        }
    ).write_parquet("orders.parquet")
    money = pl.Decimal(15, 2)
    pl.DataFrame(
        {
            "l_orderkey": [1, 2, 2, 4],
            "l_price": [Decimal(x) for x in ("0.95", "100.10", "20.00", "3.33")],
            "l_discount": [Decimal(x) for x in ("0.05", "0.07", "0.10", "0.00")],
        },
        schema_overrides={"l_price": money, "l_discount": money},
    ).write_parquet("lineitem.parquet")
    return tmp_path


def run(folder: Path, sql: str) -> int:
    """Run a statement as a job; returns the exit code."""
    inputs = [{"name": t, "uri": f"file://{t}.parquet"} for t in ("orders", "lineitem")]
    spec = {"query": {"sql": sql}, "inputs": inputs, "output": {"uri": "file://result", "mode": "overwrite"}}
    job = {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": {"name": "doc"}, "spec": spec}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return main(["run", "job.yaml"])


def result(folder: Path, sql: str) -> pl.DataFrame:
    """Run a statement as a job and read what it committed."""
    assert run(folder, sql) == 0
    return pl.read_parquet(folder / "result" / "data")


CONFIG_MAP = "---\nkind: ConfigMap\nmetadata: {name: queries}\ndata: {nightly.sql: SELECT * FROM orders}\n"


@pytest.mark.parametrize("text", jobs())
def test_a_job_in_the_docs_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    (tmp_path / "queries.yaml").write_text(CONFIG_MAP)
    assert main(["validate", str(tmp_path / "job.yaml"), "--configmap", str(tmp_path / "queries.yaml")]) == 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_valid(path: Path) -> None:
    assert main(["validate", str(path)]) == 0


def test_there_are_jobs_and_statements_to_test() -> None:
    assert len(jobs()) >= 5
    assert len(list(blocks("sql"))) >= 7


@pytest.mark.parametrize("sql", list(blocks("sql")))
def test_a_statement_in_the_docs_runs_and_finds_rows(tables: Path, sql: str) -> None:
    assert result(tables, sql).height > 0


def test_the_decimal_rule_is_as_the_docs_say(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loses, keeps = (block.values[0] for block in blocks("sql") if "l_price" in str(block.values[0]))
    assert result(tables, str(loses)).item() == Decimal("115.32")
    assert "CAST(" in capsys.readouterr().err, "the loss is warned about"
    assert result(tables, str(keeps)).item() == Decimal("115.3255")
    assert "warning" not in capsys.readouterr().err


MISSING = [
    "SELECT date_trunc('month', o_orderdate) AS m FROM orders",
    "SELECT year(o_orderdate) AS y FROM orders",
    "SELECT o_orderdate + INTERVAL '1' YEAR AS d FROM orders",
    "SELECT o_status, count(*) AS n FROM orders GROUP BY ROLLUP (o_status)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
    "SELECT current_date AS d FROM orders",
]


@pytest.mark.parametrize("sql", MISSING)
def test_what_the_docs_call_missing_is_missing(tables: Path, sql: str) -> None:
    """When one of these begins to work, the table in docs/sql.md is out of date."""
    assert run(tables, sql) == 1


def test_the_readers_in_the_docs_read_the_output(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = [str(b.values[0]) for b in jobs() if "on-my-machine" in str(b.values[0])]
    (tables / "job.yaml").write_text(source.replace("mode: overwrite", "mode: overwrite\n    partitionBy: [o_status]"))
    assert main(["run", "job.yaml"]) == 0
    page = (ROOT / "docs" / "write-a-job.md").read_text()
    readers = [text for language, text in FENCE.findall(page) if language == "python"]
    assert len(readers) == 3
    for text in readers:
        capsys.readouterr()
        exec(text, {"uri": f"{tables}/by-status/data/", "storage_options": None, "filesystem": None})
        printed = capsys.readouterr().out
        assert "F" in printed and "O" in printed, text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(page: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", prose):
        there = page.parent / target if target else page
        if there.suffix == ".md":
            assert anchor in _anchors(there), f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ +(.*?) *$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_failure_class_is_in_the_troubleshooting_table_or_is_explained_there() -> None:
    page = (ROOT / "docs" / "write-a-job.md").read_text()
    # Seldom, or not a matter of the job's author: these stand in the reference only.
    rest = {
        Failure.WORKER_LOST, Failure.EVICTED, Failure.INVALID_PLAN, Failure.TEMPLATE_REJECTED, Failure.INTERNAL_ERROR,
    }  # fmt: skip
    assert [f for f in Failure if f not in rest and f"`{f}`" not in page] == []


def test_the_guide_stands_in_the_docs_as_the_code_has_it() -> None:
    assert guide.as_markdown() in (ROOT / "docs" / "write-a-job.md").read_text()


def test_the_values_of_the_chart_are_in_the_install_page() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    values = yaml.safe_load((ROOT / "charts" / "gpuquery" / "values.yaml").read_text())
    for name, value in values.items():
        assert f"`{name}" in page, name
        for key in value if isinstance(value, dict) and name not in ("resources", "nodeSelector", "affinity") else ():
            assert re.search(rf"`({name})?\.{key}`", page), f"{name}.{key}"


WRONG_JOBS = [
    ({"engine": "tasks", "runtime": {"release": "26.10"}}, 'engine "tasks" needs a RAPIDS release from 25.08 to 26.04'),
    ({"engine": "rapidsmpf", "runtime": {"release": "25.12"}}, 'engine "rapidsmpf" needs a RAPIDS release from 26.04'),
    ({"engine": "rapidsmpf", "executorOptions": {"broadcast_join_limit": 4}}, "has no option"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG_JOBS)
def test_the_messages_that_the_page_on_execution_models_explains_are_those_that_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], words: str
) -> None:
    assert f"`{words}`" in (ROOT / "docs" / "execution-models.md").read_text()
    spec = {"query": {"sql": "SELECT 1 AS one"}, "output": {"uri": "s3://lake/out"}, **fields}
    job = {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": {"name": "doc"}, "spec": spec}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    assert main(["validate", str(tmp_path / "job.yaml")]) != 0
    assert words in capsys.readouterr().err
