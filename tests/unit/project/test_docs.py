"""What the documentation shows is right: jobs validate, SQL runs, Python reads, links lead somewhere."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
import yaml

from gpuquery.api.reasons import Failure
from gpuquery.cli import main
from gpuquery.cli.documents import load_all
from gpuquery.plan import guide
from gpuquery.runner.failures.errors import JobError
from tests.support import sql_dialects
from tests.support.sql import same
from tools.kubectl import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    write_tables(tmp_path)
    return tmp_path


def write_tables(folder: Path) -> None:
    """Write the tables that docs/sql.md speaks of."""
    days = [dt.date(1994, 1, 5), dt.date(1994, 3, 1), dt.date(1995, 3, 1), dt.date(1996, 12, 31)]
    pl.DataFrame(
        {
            "o_orderkey": [1, 2, 3, 4],
            "o_custkey": [1, 1, 2, 3],
            "o_status": ["F", "F", "O", "O"],
            "o_orderdate": days,
            "o_total": [10.5, 30.0, 20.0, 25.0],
        }
    ).write_parquet(folder / "orders.parquet")
    money = pl.Decimal(15, 2)
    pl.DataFrame(
        {
            "l_orderkey": [1, 2, 2, 4],
            "l_price": [Decimal(x) for x in ("0.95", "100.10", "20.00", "3.33")],
            "l_discount": [Decimal(x) for x in ("0.05", "0.07", "0.10", "0.00")],
        },
        schema_overrides={"l_price": money, "l_discount": money},
    ).write_parquet(folder / "lineitem.parquet")


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


def inputs() -> list[Any]:
    """The lists of inputs that docs show without a job around them."""
    found = [block for block in blocks("yaml") if str(block.values[0]).startswith("inputs:")]
    assert len(found) >= 5
    return found


def written() -> list[Any]:
    """What docs/inputs.md tells to write, from the table at its beginning."""
    page = (ROOT / "docs" / "inputs.md").read_text()
    cells = re.findall(r"^\| [^|]+ \| ([^|]+) \| [^|]* ?\|$", page.split("```yaml")[0], re.M)[1:]
    fields = ["\n".join(re.findall(r"`(\w+: [^`]+)`", cell)) for cell in cells]
    found = [text.replace("<its output.uri>", "s3://lake/out") for text in fields if text and "..." not in text]
    assert len(found) >= 12
    return [pytest.param(text, id=text.partition("\n")[0]) for text in found]


def job_of(inputs: list[dict[str, Any]]) -> str:
    """Return a job that reads some inputs and has volumes and an account for all of them."""
    claim = {"persistentVolumeClaim": {"claimName": "lake"}}
    volumes = [{"name": name, "mountPath": f"/mnt/{name}", **claim} for name in ("lake", "archive")]
    spec = {
        "query": {"python": "def query(inputs):\n    return inputs[min(inputs)]\n"}, "inputs": inputs,
        "output": {"uri": "s3://elsewhere/out"}, "template": {"spec": {"volumes": volumes}},
    }  # fmt: skip
    return yaml.safe_dump(
        {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": {"name": "doc"}, "spec": spec}
    )


@pytest.mark.parametrize("text", inputs())
def test_inputs_in_the_docs_are_valid(tmp_path: Path, text: str) -> None:
    (document,) = load_all(text)
    assert not document.surprises
    (tmp_path / "job.yaml").write_text(job_of(yaml.safe_load(text)["inputs"]))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


@pytest.mark.parametrize("text", written())
def test_what_the_table_of_inputs_tells_to_write_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(job_of([{"name": "t", **yaml.safe_load(text)}]))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_valid(path: Path) -> None:
    assert main(["validate", str(path)]) == 0


def test_there_are_jobs_and_statements_to_test() -> None:
    assert len(jobs()) >= 5
    assert len(list(blocks("sql"))) >= 7


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """DuckDB itself over the tables of docs/sql.md."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    connection = duckdb.connect()
    for name in ("orders", "lineitem"):
        connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{folder}/{name}.parquet')")
    return connection


@pytest.mark.parametrize("sql", list(blocks("sql")))
def test_a_statement_in_the_docs_has_the_rows_that_duckdb_has(
    tables: Path, duck: duckdb.DuckDBPyConnection, sql: str
) -> None:
    found, want = result(tables, sql), duck.execute(sql)
    assert found.height > 0
    assert found.columns == [str(column[0]) for column in want.description or ()]
    assert same(found.rows(), want.fetchall())


def test_the_revenue_in_the_docs_is_the_exact_one(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sql,) = (str(block.values[0]) for block in blocks("sql") if "AS revenue" in str(block.values[0]))
    assert result(tables, sql).item() == Decimal("115.3255")
    assert "is 115.3255" in (ROOT / "docs" / "sql.md").read_text()
    assert "warning" not in capsys.readouterr().err


def differences() -> list[Any]:
    """The rows of the table of docs/sql.md in which we differ from PostgreSQL, or do not: expression and value."""
    page = (ROOT / "docs" / "sql.md").read_text()
    found = re.findall(r"^\| `([^|]+?)` \| `([^`]+)`[^|]*\| [^|]+\| ([^|]*)\|$", page, re.M)
    assert len(found) >= 15
    return [pytest.param(*row, id=row[0]) for row in found]


@pytest.mark.parametrize(("expression", "value", "dialect"), differences())
def test_a_row_of_the_differences_is_so_here_and_in_duckdb(
    duck: duckdb.DuckDBPyConnection, expression: str, value: str, dialect: str
) -> None:
    expression = expression.replace("\\\\", "\\")
    here = sql_dialects.rows("duckdb", f"SELECT {expression}")
    (theirs,) = duck.execute(f"SELECT {expression}").fetchall()
    assert [str(row[0]).lower() for row in here] == [value] == [str(theirs[0]).lower()]
    if "as there" in dialect:
        assert str(sql_dialects.rows("postgres", f"SELECT {expression}")[0][0]).lower() != value


@pytest.mark.parametrize(
    ("rule", "expression", "told"),
    [
        (
            "has up to 38 digits. DuckDB fails beyond 18",
            "1.1::DECIMAL(18, 9) * 99999999.5::DECIMAL(18, 9)",
            "109999999",
        ),
        ("is not a time of day", "CAST('24:00:00' AS TIME)", "InvalidQuery"),
        ("`24-01-31` is not a date", "CAST('24-01-31' AS DATE)", "InvalidQuery"),
        ("is the time in UTC", "CAST(TIMESTAMPTZ '2024-01-01 10:00:00+02' AS TIME)", "08:00:00"),
        ("`reverse` reverses code points", "reverse('ae' || chr(769)) = chr(769) || 'ea'", "True"),
        ("takes the smallest of the most frequent values", "mode(x) FROM (VALUES (2), (1)) AS v(x)", "1"),
        ("a `HUGEINT` of 39 is refused", "170141183460469231731687303715884105727", "InvalidQuery"),
        ("`infinity` is not a date", "CAST('infinity' AS DATE)", "InvalidQuery"),
        ("is refused before the query runs", "CAST('x' AS DATE) FROM orders WHERE FALSE", "InvalidQuery"),
    ],
)
def test_a_rule_that_is_neither_engines_is_kept(rule: str, expression: str, told: str) -> None:
    assert rule in (ROOT / "docs" / "sql.md").read_text()
    try:
        found = str(sql_dialects.rows("duckdb", f"SELECT {expression}")[0][0])
    except JobError as error:
        found = str(error)
    assert found.startswith(told)


def parameters() -> list[str]:
    """Return the parameters that docs/sql.md shows in its table and its text."""
    found = re.findall(r'`("?\w+"?: \{[^`]+\})`', (ROOT / "docs" / "sql.md").read_text())
    assert len(found) >= 8
    return found


@pytest.mark.parametrize("text", parameters())
def test_a_parameter_in_the_docs_can_be_pasted(tmp_path: Path, text: str) -> None:
    """Kubectl reads `n` and `on` as booleans: no example may have such a name without quotes."""
    (document,) = load_all(text)
    assert not document.surprises
    name = re.sub(r"\W", "", text.partition(":")[0])
    lines = f"  query: {{sql: 'SELECT o_total FROM orders WHERE o_total IN :{name}'}}\n  parameters:\n    {text}\n"
    (tmp_path / "job.yaml").write_text(SMALL + (lines if "s: [" in text else lines.replace("IN :", "= :")))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 0


SMALL = (
    "apiVersion: gpuquery.io/v1alpha1\nkind: GpuQueryJob\nmetadata: {name: doc}\nspec:\n"
    "  inputs: [{name: orders, uri: s3://lake/orders/*.parquet}]\n  output: {uri: s3://lake/out}\n"
)

REFUSED = [
    "SELECT * FROM orders TABLESAMPLE 10%",
    "SELECT random() AS r FROM orders",
    "SELECT uuid() AS r FROM orders",
    "PIVOT orders ON o_status USING sum(o_total)",
    "SELECT '{}'::JSON AS j FROM orders",
    "SELECT map([1], [2]) AS m FROM orders",
    "SELECT * FROM lake.orders",
    "SELECT * FROM read_parquet('orders.parquet')",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_the_docs_call_refused_is_refused(tables: Path, sql: str) -> None:
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


def test_the_page_on_receipts_says_what_reuse_and_diff_say(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "receipts.md").read_text()
    (source,) = [text for language, text in FENCE.findall(page) if language == "yaml"]
    (shown,) = [text for language, text in FENCE.findall(page) if language == "text"]
    (tables / "job.yaml").write_text(source)
    assert main(["run", "job.yaml"]) == 0
    (receipt,) = (tables / "by-status/_receipts").iterdir()
    first = receipt.rename(tables / "first.json")
    (tables / "by-status/_receipts" / receipt.name).write_bytes(first.read_bytes())
    assert main(["run", "job.yaml"]) == 0 and "reused the commit of default/orders" in capsys.readouterr().err
    (tables / "job.yaml").write_text(source.replace("1994-01-01", "1995-01-01"))
    assert main(["run", "job.yaml"]) == 0
    assert "not reused: parameter since: date 1994-01-01 then, date 1995-01-01 now" in capsys.readouterr().err
    assert main(["diff", "first.json", f"file://{tables}/by-status"]) == 1
    assert capsys.readouterr().out.startswith(shown)


def test_the_expectations_in_the_docs_hold_and_fail_as_told(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = [str(b.values[0]) for b in jobs() if "totals-by-customer" in str(b.values[0])]
    (tables / "job.yaml").write_text(source)
    assert main(["run", "job.yaml", "-o", "json"]) == 0
    page = " ".join((ROOT / "docs" / "write-a-job.md").read_text().split())
    assert "`4 hold: rows >= 1 (3); unique [customer]; ...`" in page
    assert '"4 hold: rows >= 1 (3); unique [customer]; notNull' in capsys.readouterr().out
    grouped = "GROUP BY o_custkey"
    assert source.count(grouped) == 1
    (tables / "job.yaml").write_text(
        source.replace(grouped, f"{grouped}, o_orderkey").replace("file://totals", "file://more")
    )
    assert main(["run", "job.yaml", "-o", "json"]) == 1
    message = json.loads(capsys.readouterr().out)[0]["message"]
    assert message in page
    assert not list((tables / "more").rglob("*.parquet"))


def test_the_rows_of_a_failed_job_in_the_docs_are_where_its_message_says(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = [str(b.values[0]) for b in jobs() if "orders-checked" in str(b.values[0])]
    (tables / "job.yaml").write_text(source)
    assert main(["run", "job.yaml", "-o", "json"]) == 1
    message = json.loads(capsys.readouterr().out)[0]["message"]
    kept = re.compile(r"kept in (\S+) until [-0-9]{10} [0-9:]{5} UTC")
    page = " ".join((ROOT / "docs" / "write-a-job.md").read_text().split())
    assert kept.sub("kept", message) in kept.sub("kept", page)
    place = kept.findall(message)[0].removeprefix("file://")
    sql = f"SELECT count(*), count(DISTINCT customer) FROM read_parquet('{place}**/*.parquet')"
    assert duckdb.sql(sql).fetchall() == [(4, 3)]


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
        Failure.WORKER_LOST, Failure.EVICTED, Failure.SUSPENDED, Failure.INVALID_PLAN, Failure.TEMPLATE_REJECTED,
        Failure.INTERNAL_ERROR,
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


LOGS = re.compile(r"kubectl(?: [^`\n]*?)? logs [^`\n]*")


def test_every_log_command_shows_the_whole_log_of_every_pod() -> None:
    """With `-l` kubectl shows ten lines of each pod, and of a Deployment it picks one pod."""
    notes = ROOT / "charts" / "gpuquery" / "templates" / "NOTES.txt"
    found = [command for page in (*PAGES, notes) for command in LOGS.findall(page.read_text())]
    assert len(found) >= 3
    for command in found:
        assert "--tail=-1" in command and " -l " in command, command
