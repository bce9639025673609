"""Every snippet of docs/reading.md, as it stands there, on a real S3 server."""

from __future__ import annotations

import json
import re
import subprocess
from urllib.parse import urlsplit

import polars as pl
import pytest

from gpuquery.runner.output.pointer import Pointer
from tests.support import duckdb_iceberg, environments
from tests.support.sinks import plan, run
from tools.kubectl import ROOT

pytestmark = pytest.mark.s3
PAGE = (ROOT / "docs" / "reading.md").read_text()
LOADED = (
    "import duckdb\nfrom duckdb_extensions import import_extension\nimport_extension('httpfs')\n"
    "duckdb.execute('SET autoinstall_known_extensions = false; LOAD httpfs')\n"
)
AWKWARD = ["F", "a/b", "a b%2F", "=é+&", None]


def snippet(word: str, seaweed, bucket: str) -> str:
    """The one snippet that has a word, for the server of the tests."""
    (text,) = [one for one in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if word in one]
    place = urlsplit(seaweed.endpoint).netloc
    return text.replace("s3.lake.svc:8333", place).replace("lake/orders", f"{bucket}/out")


@pytest.fixture
def table(seaweed, bucket):
    """A table of three jobs, the last of which has replaced one partition."""
    for number, (mode, status) in enumerate(
        [("append", AWKWARD), ("append", ["gone"]), ("overwritePartitions", ["gone"])]
    ):
        frame = pl.LazyFrame({"status": status, "total": [100.0 * number + n for n in range(len(status))]})
        run(plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, mode=mode, partitionBy=["status"]), frame)


WANT = {(status, float(n)) for n, status in enumerate(AWKWARD)} | {("gone", 200.0)}


def run_snippet(text: str, name: str) -> object:
    """Run a snippet, whose last line prints an expression; returns the value of that."""
    assert text.rstrip().endswith(")") and "print(" in text
    body, _, last = text.rpartition("print(")
    space: dict[str, object] = {}
    exec(f"{body}\nfound = ({last.rstrip()[:-1]}\n)", space)
    return space[name]


@pytest.mark.usefixtures("table")
def test_open_table_as_in_the_docs(seaweed, bucket):
    found = run_snippet(snippet("import gpuquery", seaweed, bucket), "found")
    assert isinstance(found, pl.DataFrame)
    assert set(found.rows()) == WANT


@pytest.mark.usefixtures("table")
def test_polars_as_in_the_docs(seaweed, bucket):
    found = run_snippet(snippet("import polars", seaweed, bucket), "found")
    assert isinstance(found, pl.DataFrame)
    assert set(found.select("status", "total").rows()) == WANT


@pytest.mark.usefixtures("table")
def test_pyarrow_as_in_the_docs(seaweed, bucket):
    found = run_snippet(snippet("import pyarrow", seaweed, bucket), "table")
    assert {(row["status"], row["total"]) for row in found.to_pylist()} == WANT  # type: ignore[attr-defined]


@pytest.mark.usefixtures("table")
def test_duckdb_as_in_the_docs(seaweed, bucket):
    home = environments.home("duckdb-iceberg", duckdb_iceberg.LOCK.read_bytes())
    with environments.alone(home):
        program = environments.python(duckdb_iceberg.LOCK, home)
    text = snippet("import duckdb", seaweed, bucket)
    text = (
        text.replace("print(duckdb.sql(", "found = (duckdb.sql(") + "\nimport json; print(json.dumps(found.fetchall()))"
    )
    ran = subprocess.run([program, "-c", LOADED + text], text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert {(status, total) for total, status in json.loads(ran.stdout)} == WANT


def test_the_pointer_in_the_docs_is_one():
    (text,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    told = Pointer.model_validate_json(text)
    assert set(json.loads(text)) == set(json.loads(told.model_dump_json(by_alias=True, exclude_none=True)))
    assert told.files and (told.rows, told.bytes, told.count) == (
        sum(one.rows for one in told.files), sum(one.bytes for one in told.files), len(told.files),
    )  # fmt: skip
