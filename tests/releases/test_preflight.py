"""The preflight inside the packages of each release: a process as in a pod, but on a machine without GPU."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.api.report import MAX_REPORT_BYTES, Report
from gpuquery.plan import releases
from gpuquery.plan.releases import Release, Way
from tests.releases import environments
from tests.releases.environments import CUDA, NAMED
from tests.support.runner import plan
from tests.support.store_servers import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.plan.plan import Plan
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.releases

OPERATOR = environments.ROOT / "operator"
SALES = pl.DataFrame({"shop": ["a", "b", "a", "c"], "day": [1, 2, 3, 4], "price": [1.0, 2.5, None, 4.0]})
GROUPS = "select shop, sum(price) as total from sales group by shop"
ROWS = "select shop, price from sales where price > 0"
COUNT = "select count(*) as sales from sales"
RUNNING = "def query(inputs, params):\n    import polars as pl\n    return inputs['sales']"
SMALL = {"target_partition_size": 1}
"""Partitions so small that the few rows here are several."""


class Pod:
    """The query process of one release, which runs preflights."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.python = environments.folder(release.name, CUDA) / "bin" / "python"
        self._process = subprocess.Popen(
            [self.python, Path(__file__).with_name("pod.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment(release),
        )  # fmt: skip

    def preflight(self, wanted: Plan, folder: Path, **env: str) -> Report:
        """Run a plan."""
        document = folder / "plan.json"
        document.write_text(wanted.model_dump_json(by_alias=True, exclude_none=True))
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"plan": str(document), "env": env}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert len(line.encode()) <= MAX_REPORT_BYTES + 1
        found = Report.from_line(line)
        assert found is not None, f"{self.pod.release.name}: the process ended"
        return found

    def refused(self, wanted: Plan, folder: Path, **env: str) -> Report:
        """Run a plan whose preflight must fail."""
        report = self.preflight(wanted, folder, **env)
        assert report.failure is not None and report.preflight is None, report
        return report

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="module", params=NAMED or releases.names())
def pod(request: pytest.FixtureRequest) -> Iterator[Pod]:
    """A process with the packages of a release."""
    found = releases.find(request.param)
    assert found is not None
    if environments.python(found.name, CUDA) is None:
        assert found.name not in NAMED, f"make test-releases should have installed {found.name}"
        pytest.skip(f"the packages of {found.name} are not installed: make test-releases RELEASES={found.name}")
    made = Pod(found)
    yield made
    made.close()


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """A folder with a table of two files."""
    for n in range(2):
        SALES.write_parquet(tmp_path / f"sales{n}.parquet")
    return tmp_path


def runnable(release: Release) -> tuple[EngineChoice, ClusterChoice]:
    """A GPU engine and cluster that the release can run."""
    return next(
        (engine, cluster) for (engine, cluster), cell in release.cells.items()
        if cell.way and engine is not EngineChoice.CPU
    )  # fmt: skip


def doubling(release: Release) -> list[tuple[EngineChoice, ClusterChoice]]:
    """What writes the rows of a replicated result once for each GPU; skips the test where the release has none."""
    cells = [key for key, cell in release.cells.items() if cell.way and not cell.replicated_safe]
    if not cells:
        pytest.skip(f"RAPIDS {release.name} has no such cell")
    return cells


def asked(pod: Pod, folder: Path, query: str, **changes: Any) -> Plan:
    """The plan of a preflight over `sales`."""
    engine, cluster = runnable(pod.release)
    given = {"engine": engine, "cluster": cluster, "release": pod.release.name, "purpose": "preflight", "gpus": 1}
    inputs = {"sales": f"file://{folder}/sales*.parquet"}
    if pod.release.sql_unlike and changes.get("language") != "python":
        given["dialect"] = "polars"
    return plan(folder, query, **{**given, "inputs": inputs, **changes})


def environment(release: Release) -> dict[str, str]:
    """Variables of the process: the project's own code, and what only a driver would bring."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CUDF_POLARS", "RAPIDSMPF", "AWS_"))}
    if release.name == "26.04":
        kept["LD_LIBRARY_PATH"] = str(environments.nvml_stub(environments.folder(release.name, CUDA)))
    return {**kept, "PYTHONPATH": str(OPERATOR)}


def script(pod: Pod, text: str, folder: Path, *wanted: Plan) -> list[str]:
    """Run a script of its own with the plans' paths as its arguments; returns the lines that it prints."""
    documents = [folder / f"plan{number}.json" for number in range(len(wanted))]
    for document, one in zip(documents, wanted, strict=True):
        document.write_text(one.model_dump_json(by_alias=True, exclude_none=True))
    done = subprocess.run(
        [pod.python, "-c", text, *documents], env=environment(pod.release), capture_output=True, text=True, timeout=200
    )
    assert done.stdout, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_a_query_that_can_run_passes_on_every_cell_of_the_release(pod: Pod, sales: Path) -> None:
    for (engine, cluster), cell in pod.release.cells.items():
        if cell.way is None or engine is EngineChoice.CPU:
            continue
        gpus = 1 if cluster is ClusterChoice.SINGLE else 2
        query, options = (GROUPS, {}) if cell.replicated_safe else (ROWS, SMALL)
        job = asked(pod, sales, query, engine=engine, cluster=cluster, gpus=gpus, executorOptions=options)
        report = pod.preflight(job, sales)
        found = report.preflight
        assert found is not None and report.failure is None, f"{engine} x {cluster}: {report}"
        assert found.release == pod.release.name and found.finished is not None
        assert not [w for w in found.warnings if w.startswith("not checked")], f"{engine} x {cluster}: {found}"
        assert found.fallbacks == (), "tables of one partition fall back on nothing"
        assert (found.files, found.rows) == (2, 8) and found.input_bytes > 0 and found.basis
    assert not [path for path in (sales / "out").rglob("*") if path.is_file()], "nothing is written"


def test_rows_that_would_come_out_once_for_each_gpu_are_refused_with_the_release_that_can(
    pod: Pod, sales: Path
) -> None:
    for engine, cluster in doubling(pod.release):
        for query, options in ((GROUPS, {}), (COUNT, SMALL), ("select sum(price) as total from sales", SMALL)):
            job = asked(pod, sales, query, engine=engine, cluster=cluster, gpus=2, executorOptions=options)
            report = pod.refused(job, sales)
            assert report.failure is Failure.INVALID_COMBINATION, report
            assert "once for each GPU" in report.message
            assert "runtime.release 26.10, or cluster: single" in report.message


def test_a_result_on_one_partition_is_told_where_the_size_may_still_bring_more_gpus(pod: Pod, sales: Path) -> None:
    if (EngineChoice.RAPIDSMPF, ClusterChoice.SINGLE) not in pod.release.cells:
        pytest.skip(f"RAPIDS {pod.release.name} has no rapidsmpf")
    if pod.release.cells[EngineChoice.RAPIDSMPF, ClusterChoice.SINGLE].way is None:
        pytest.skip(f"RAPIDS {pod.release.name} cannot write with rapidsmpf")
    for query, one in ((ROWS, False), ("select sum(price) as total from sales", True)):
        job = asked(pod, sales, query, engine=EngineChoice.RAPIDSMPF, cluster=ClusterChoice.SINGLE, gpus=1,
                    executorOptions=SMALL)  # fmt: skip
        found = pod.preflight(job, sales).preflight
        assert found is not None and found.one_partition is one, found


def test_one_rank_writes_its_rows_once_and_is_not_refused(pod: Pod, sales: Path) -> None:
    for engine, cluster in doubling(pod.release):
        job = asked(pod, sales, GROUPS, engine=engine, cluster=cluster, gpus=1)
        assert pod.preflight(job, sales).failure is None


def test_a_store_that_does_not_tell_sizes_is_asked_again_and_ends_no_job(pod: Pod, sales: Path) -> None:
    text = (
        "import sys; from pathlib import Path; from gpuquery.runner import main as query\n"
        "class Gone:\n"
        "    def sizes(self, paths): raise OSError('no answer')\n"
        "from gpuquery.runner.preflight import files\n"
        "class Fetch: Everywhere = staticmethod(lambda store: Gone())\n"
        "files.stores, files.Sized = Fetch, lambda files, known: files\n"
        "for path in sys.argv[1:]: print(query._run(Path(path), None).to_line())"
    )
    engine, cluster = doubling(pod.release)[0]
    job = asked(pod, sales, ROWS, engine=engine, cluster=cluster, gpus=2, executorOptions=SMALL)
    (report,) = (json.loads(line) for line in script(pod, text, sales, job))
    assert report["failure"] == Failure.STORAGE_UNAVAILABLE, report


OWN = """
import polars as pl

def query(inputs, params):
    return inputs["sales"].join(pl.LazyFrame({"shop": ["a", "b"], "boss": [1, 2]}), on="shop").select("boss", "price")
"""


def test_a_table_that_the_query_makes_itself_is_refused_where_each_rank_would_read_all_of_it(
    pod: Pod, sales: Path
) -> None:
    for (engine, cluster), cell in pod.release.cells.items():
        if cell.way is None or engine is EngineChoice.CPU:
            continue
        gpus = 1 if cluster is ClusterChoice.SINGLE else 2
        given = {"engine": engine, "cluster": cluster, "gpus": gpus, "executorOptions": SMALL}
        report = pod.preflight(asked(pod, sales, OWN, language="python", **given), sales)
        if cell.way is Way.SPMD and gpus > 1:
            assert report.failure is Failure.UNSUPPORTED_QUERY, f"{engine} x {cluster}: {report}"
            assert "table in memory of 2 rows (shop, boss)" in report.message
            assert "Each of 2 ranks" in report.message
        else:
            assert report.failure is None, f"{engine} x {cluster}: {report}"


def test_the_query_process_ends_with_0_after_a_preflight_that_passed(pod: Pod, sales: Path) -> None:
    document, left = sales / "plan.json", sales / "report.json"
    document.write_text(asked(pod, sales, GROUPS).model_dump_json(by_alias=True, exclude_none=True))
    command = [pod.python, "-m", "gpuquery.runner.main", "--plan", document, "--report", left]
    done = subprocess.run(command, env=environment(pod.release), capture_output=True, text=True, timeout=200)
    report = Report.from_line(left.read_text())
    assert done.returncode == 0 and report is not None and report.preflight is not None, done.stderr[-3000:]


UNSUPPORTED = [
    pytest.param("pl.col('price').ewm_mean(span=3).alias('e')", ['"e"', "ewm"], id="a function that no release has"),
    pytest.param("pl.col('price').map_elements(float, return_dtype=pl.Float64).alias('m')",
                 ['"m"', "Python function", "map_elements"], id="map_elements"),
    pytest.param("pl.col('price').map_batches(abs, return_dtype=pl.Float64).alias('m')",
                 ['"m"', "Python function", "map_batches"], id="map_batches"),
    pytest.param("pl.col('shop').str.normalize().alias('n'), pl.col('price').ewm_std(span=2).alias('s')",
                 ["2 parts", '"n"', "str.normalize(shop)", '"s"', "ewm"], id="two columns of one selection"),
    pytest.param("pl.col('shop').cast(pl.Categorical).alias('c')", ['"c"', "Categorical", "cast"], id="a type"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "words"), UNSUPPORTED)
def test_what_the_gpu_engine_cannot_run_is_named_with_its_column(
    pod: Pod, sales: Path, made: str, words: list[str]
) -> None:
    query = f"{RUNNING}.with_columns({made})"
    report = pod.refused(asked(pod, sales, query, language="python"), sales)
    assert report.failure is Failure.UNSUPPORTED_QUERY
    assert f"RAPIDS {pod.release.name}" in report.message and "engine: cpu" in report.message
    for word in words:
        assert word in report.message


def test_a_python_function_over_a_table_or_a_filter_is_named_as_such(pod: Pod, sales: Path) -> None:
    whole = asked(pod, sales, f"{RUNNING}.map_batches(lambda d: d)", language="python")
    assert "over the whole table" in pod.refused(whole, sales).message
    rows = "pl.col('price').map_elements(lambda v: v > 1, return_dtype=pl.Boolean)"
    message = pod.refused(asked(pod, sales, f"{RUNNING}.filter({rows})", language="python"), sales).message
    assert 'the filter on input "sales": a Python function' in message


def test_parts_that_run_on_one_partition_are_named_and_pass(pod: Pod, sales: Path) -> None:
    query = f"{RUNNING}.with_columns(pl.col('price').cum_sum().alias('c'))"
    report = pod.preflight(asked(pod, sales, query, language="python", executorOptions=SMALL), sales)
    assert report.preflight is not None, report
    assert [part for part in report.preflight.fallbacks if '"c" = cum_sum(price)' in part], report.preflight


def test_a_fallback_fails_where_the_options_forbid_it(pod: Pod, sales: Path) -> None:
    query = f"{RUNNING}.with_columns(pl.col('price').cum_sum().alias('c'))"
    options = {**SMALL, "fallback_mode": "raise"}
    wanted = asked(pod, sales, query, language="python", executorOptions=options)
    report = pod.refused(wanted, sales)
    assert report.failure is Failure.UNSUPPORTED_QUERY
    assert '"c" = cum_sum(price)' in report.message and "fallback_mode: raise" in report.message
    by_environment = asked(pod, sales, query, language="python", executorOptions=SMALL)
    variable = {"CUDF_POLARS__EXECUTOR__FALLBACK_MODE": "raise"}
    assert pod.refused(by_environment, sales, **variable).failure is Failure.UNSUPPORTED_QUERY


def test_options_that_the_release_refuses_are_told(pod: Pod, sales: Path) -> None:
    report = pod.refused(asked(pod, sales, GROUPS, executorOptions={"no_such_option": 1}), sales)
    assert report.failure is Failure.INVALID_COMBINATION
    assert "no_such_option" in report.message


def test_folders_of_keys_are_read_by_the_gpu_engine_as_constants(pod: Pod, sales: Path) -> None:
    for folder in ("year=1994/zip=001", "year=1995/zip=__HIVE_DEFAULT_PARTITION__"):
        (sales / "hive" / folder).mkdir(parents=True)
        SALES.write_parquet(sales / "hive" / folder / "a.parquet")
    text = "select zip, year, count(*) as n from sales where year > 1994 group by zip, year"
    report = pod.preflight(asked(pod, sales, text, inputs={"sales": f"file://{sales}/hive/"}), sales)
    assert report.failure is None, report.message


def test_more_folders_of_keys_than_a_gpu_engine_reads_are_refused_with_the_name_of_the_input(
    pod: Pod, sales: Path
) -> None:
    for batch in range(1001):
        (sales / "hive" / f"batch={batch}").mkdir(parents=True)
        SALES.write_parquet(sales / "hive" / f"batch={batch}" / "a.parquet")
    wanted = asked(pod, sales, "select shop from sales", inputs={"sales": f"file://{sales}/hive/"})
    report = pod.refused(wanted, sales)
    assert report.failure is Failure.UNSUPPORTED_QUERY
    assert 'reading input "sales"' in report.message and "hivePartitioned: false" in report.message


def test_a_broken_contract_names_every_column(pod: Pod, sales: Path) -> None:
    columns: Mapping[str, Any] = {
        "shop": {"type": "Int64"}, "days": {"type": "Date"}, "price": {"type": "f64", "nullable": False},
    }  # fmt: skip
    table = {"uri": f"file://{sales}/sales*.parquet", "schema": {"columns": columns, "extraColumns": "forbid"}}
    report = pod.refused(asked(pod, sales, GROUPS, inputs={"sales": table}), sales)
    assert report.failure is Failure.SCHEMA_MISMATCH
    for words in ('"shop": wanted Int64, found String', '"days" is missing: wanted Date', '(there is "day")',
                  '"day" (Int64) is not in the schema'):  # fmt: skip
        assert words in report.message


def test_nulls_that_a_contract_excludes_are_counted_with_their_file(pod: Pod, sales: Path) -> None:
    columns = {"price": {"type": "Float64", "nullable": False}, "day": {"type": "Int64", "nullable": False}}
    SALES.drop_nulls().write_parquet(sales / "sales0.parquet")
    table = {"uri": f"file://{sales}/sales*.parquet", "schema": {"columns": columns}}
    report = pod.refused(asked(pod, sales, GROUPS, inputs={"sales": table}), sales)
    assert report.failure is Failure.SCHEMA_MISMATCH
    assert '"price" has a null (first in ' in report.message and "sales1.parquet" in report.message
    assert '"day"' not in report.message


@pytest.mark.s3
def test_tables_in_a_store_pass_and_no_credential_is_told(pod: Pod, sales: Path, seaweed: Seaweed) -> None:
    bucket = seaweed.make_bucket()
    for n in range(2):
        seaweed.client().upload_file(str(sales / f"sales{n}.parquet"), bucket, f"t/sales{n}.parquet")
    store = {"endpoint": seaweed.endpoint, "region": "us-east-1", "pathStyle": True}
    given = {"inputs": {"sales": f"s3://{bucket}/t/*.parquet"}, "output": {"uri": f"s3://{bucket}/out"}, "store": store}
    report = pod.preflight(asked(pod, sales, GROUPS, **given), sales, **seaweed.environment)
    assert report.preflight is not None and report.preflight.rows == 8, report
    assert [key for key in seaweed.keys(bucket) if not key.startswith("t/")] == [], "nothing is left in the store"
    wrong = {**seaweed.environment, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    refused = pod.refused(asked(pod, sales, GROUPS, **given), sales, **wrong)
    assert refused.failure is Failure.STORAGE_AUTH and "not-the-secret" not in refused.to_line()
    csv = {**given, "inputs": {"sales": f"s3://{bucket}/t/*.csv"}}
    message = pod.refused(asked(pod, sales, GROUPS, **csv), sales, **seaweed.environment).message
    assert 'input "sales"' in message and "CSV from local files only" in message


def test_files_of_a_web_server_pass_and_buckets_that_no_gpu_reader_reaches_are_refused(pod: Pod, sales: Path) -> None:
    with WebServer().serving() as web:
        web.put("t/sales 0.parquet", (sales / "sales0.parquet").read_bytes())
        given: dict[str, Any] = {"inputs": {"sales": f"{web.root}/t/sales 0.parquet"}, "store": {"allowHttp": True}}
        report = pod.preflight(asked(pod, sales, GROUPS, **given), sales)
        assert report.preflight is not None and report.preflight.rows == SALES.height, report
    refused = pod.refused(asked(pod, sales, GROUPS, inputs={"sales": "gs://lake/t/*.parquet"}), sales)
    assert refused.failure is Failure.INVALID_INPUT
    assert 'input "sales" (gs://lake/t/*.parquet)' in refused.message and "use engine: cpu" in refused.message


def test_another_release_is_refused_before_anything_of_cuda_is_loaded(pod: Pod, sales: Path) -> None:
    other = next(name for name in releases.names() if name != pod.release.name)
    text = (
        "import sys; from pathlib import Path; from gpuquery.runner import main as query\n"
        "print(query._run(Path(sys.argv[1]), None).to_line())\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('cudf_polars', 'pylibcudf', 'rmm', 'rapidsmpf')])"
    )
    line, loaded = script(pod, text, sales, asked(pod, sales, GROUPS, release=other))
    report = json.loads(line)
    assert report["failure"] == Failure.RELEASE_MISMATCH
    assert f"RAPIDS {other}" in report["message"] and f"RAPIDS {pod.release.name}" in report["message"]
    assert loaded == "[]"


def test_a_query_is_checked_in_its_own_pod_before_the_engine_starts(pod: Pod, sales: Path) -> None:
    text = (
        "import sys; from pathlib import Path; from gpuquery.runner import attempt; "
        "from gpuquery.runner import main as query\n"
        "class Engine:\n"
        "    name = 'recorded'\n"
        "    def join(self, plan, ranks): pass\n"
        "    def run(self, frame, sink): raise SystemExit('the engine started')\n"
        "attempt.engines.find = lambda name: Engine()\n"
        "for path in sys.argv[1:]: print(query._run(Path(path), None).to_line())"
    )
    queries = (f"{RUNNING}.with_columns(pl.col('price').ewm_mean(span=3))", RUNNING)
    plans = [asked(pod, sales, query, language="python", purpose="query") for query in queries]
    refused, started = (json.loads(line) for line in script(pod, text, sales, *plans))
    assert refused["failure"] == Failure.UNSUPPORTED_QUERY
    assert "the engine started" in started["message"]
