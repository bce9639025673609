"""The preflight without a GPU engine: order, contracts, the GPU reader's rules, and what is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Report
from gpuquery.api.spec import Input
from gpuquery.plan.plan import Plan, Purpose, StoreAccess
from gpuquery.runner import engines, local
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.preflight import release, sizes, translate
from gpuquery.runner.preflight.checks import Checks
from gpuquery.runner.query.queries import Planned
from gpuquery.runner.stores import reader_rules
from gpuquery.runner.stores.s3 import S3, client
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gpuquery.api.status import PreflightStatus

ROWS = pl.DataFrame(
    {"id": [1, 2, 3], "name": ["a", None, "c"], "price": [1, 2, 3]},
    schema={"id": pl.Int64, "name": pl.String, "price": pl.Decimal(15, 2)},
)
SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with a table of two files, of which the second has no nulls."""
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.drop_nulls().write_parquet(tmp_path / "b.parquet")
    return tmp_path


def checked(folder: Path, query: str = "select id from t", **changes: Any) -> Report:
    """The report of a preflight over the table `t`, with `columns` as its contract."""
    columns = changes.pop("columns", None)
    extra = {"extraColumns": changes.pop("extra")} if "extra" in changes else {}
    given = {"uri": f"file://{folder}/*.parquet", **({"schema": {"columns": columns, **extra}} if columns else {})}
    return run(plan(folder, query, **{"inputs": {"t": given}, "purpose": "preflight", **changes}))


def test_a_preflight_tells_what_the_query_reads_and_writes_nothing(table: Path) -> None:
    report = checked(table)
    assert report.failure is None and report.committed is None and report.succeeded
    found = report.preflight
    assert found is not None
    assert (found.release, found.polars, found.files, found.rows) == (None, pl.__version__, 2, 5)
    assert found.input_bytes > 0 and found.basis and found.finished
    assert [path for path in (table / "out").rglob("*") if path.is_file()] == []


def test_the_process_of_a_preflight_that_passed_ends_with_0_and_so_does_its_supervisor(table: Path) -> None:
    wanted = plan(table, "select id from t", inputs={"t": f"file://{table}/*.parquet"}, purpose="preflight")
    (table / "plan.json").write_text(wanted.model_dump_json(by_alias=True, exclude_none=True))
    log = table / "termination-log"
    command = [
        sys.executable, "-m", "gpuquery.runner.supervisor", "--plan", table / "plan.json", "--port", "0",
        "--termination-log", log,
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    report = Report.from_line(log.read_text())
    assert report is not None and report.preflight is not None and report.preflight.rows == 5


def test_a_preflight_of_a_job_that_has_committed_says_so(table: Path) -> None:
    wanted = plan(table, "select id from t", inputs={"t": f"file://{table}/*.parquet"})
    assert run(wanted).committed
    report = run(wanted.model_copy(update={"purpose": Purpose.PREFLIGHT}))
    assert report.preflight is not None
    assert "committed version 1" in report.preflight.warnings[0]


WRONG = [
    pytest.param({"query": "select id frm t"}, Failure.INVALID_QUERY, id="the query's text"),
    pytest.param({"query": "select nope from t"}, Failure.INVALID_QUERY, id="a column"),
    pytest.param({"inputs": {"t": "file:///nowhere/*.parquet"}}, Failure.INVALID_INPUT, id="an input"),
    pytest.param({"engine": "rapidsmpf", "release": "26.10"}, Failure.INVALID_PLAN, id="the packages"),
]


@pytest.mark.parametrize(("changes", "failure"), WRONG)
def test_what_is_wrong_fails_with_its_class(table: Path, changes: dict[str, Any], failure: Failure) -> None:
    report = checked(table, **changes)
    assert report.failure is failure and report.preflight is None and not report.succeeded


def test_the_output_that_exists_is_told_before_the_input_that_is_missing(table: Path) -> None:
    assert run(plan(table, "select 1 as a")).committed
    report = checked(table, inputs={"t": "file:///nowhere/*.parquet"})
    assert report.failure is Failure.OUTPUT_EXISTS


def test_a_missing_engine_is_named_with_what_to_install(table: Path) -> None:
    message = checked(table, engine="tasks", cluster="distributed", release="26.04").message
    assert 'engine "tasks" (RAPIDS 26.04) needs cudf-polars' in message
    assert "install cudf-polars-cu12==26.4.*" in message


INSTALLED = {"polars": "1.44.2", "cudf-polars-cu13": "26.10.2", "rapidsmpf-cu13": "26.10.0"}


@pytest.mark.parametrize(
    ("installed", "changes", "failure", "words"),
    [
        pytest.param(
            {}, {"release": "26.04"}, Failure.RELEASE_MISMATCH, ["RAPIDS 26.04", "RAPIDS 26.10", "runtime.image"],
            id="another release",
        ),
        pytest.param(
            {"polars": "1.45.0"}, {}, Failure.RELEASE_MISMATCH, ["<1.45", "Polars 1.45.0"], id="a Polars too new",
        ),
        pytest.param(
            {}, {"cluster": "distributed"}, Failure.INVALID_PLAN, ["needs ucxx", "install ucxx-cu13==0.52.*"],
            id="a package that is missing",
        ),
        pytest.param({}, {}, None, [], id="all there"),
    ],
)  # fmt: skip
def test_what_an_image_holds_is_compared_with_the_plan(
    monkeypatch: pytest.MonkeyPatch,
    installed: Mapping[str, str],
    changes: Mapping[str, Any],
    failure: Failure | None,
    words: list[str],
) -> None:
    def version(name: str) -> str:
        if name in (there := {**INSTALLED, **installed}):
            return there[name]
        raise release.PackageNotFoundError(name)

    monkeypatch.setattr(release, "version", version)
    monkeypatch.setattr(release, "requires", lambda _: ["polars<1.45,>=1.35", "polars-extra>9", "rmm-cu13==26.10.*"])
    wanted = plan("file:///x", "select 1", **{"engine": "rapidsmpf", "release": "26.10", **changes})
    if failure is None:
        assert release.check(wanted).release == "26.10"
        return
    with pytest.raises(JobError) as caught:
        release.check(wanted)
    assert caught.value.failure is failure
    for word in words:
        assert word in caught.value.message


def test_a_preflight_that_passes_tells_no_secret(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(release, "check", lambda *_: release.Installed("1.44.2", "26.10.2"))
    monkeypatch.setattr(translate, "load", lambda: None)
    parts = translate.Translation(fallbacks=(f'"{SECRET}" = cum_sum(id)',), unchecked=(f'"{SECRET}" on a GPU',))
    monkeypatch.setattr(translate, "check", lambda *_: parts)
    wanted = plan(table, "select 1", engine="rapidsmpf", release="26.10", gpus=1)
    found = Checks(wanted).judge(Planned(pl.LazyFrame({"id": [1]}), (f"cast {SECRET}",), plan=f"read {SECRET}\n└─ x"))
    assert found.fallbacks == ('"***" = cum_sum(id)',)
    assert found.warnings == ("cast ***", 'not checked: "***" on a GPU')
    assert found.plan == "read ***\n  | └─ x"


def test_an_engine_joins_when_nobody_imports_any_more(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Joining:
        name = "rapidsmpf"

        def join(self, plan: Plan, ranks: Any) -> None:
            seen.append("joined")
            raise JobError(Failure.NO_GPU, "that is enough")

    def load() -> None:
        time.sleep(0.3)
        seen.append("imported")
        raise ImportError("libcuda.so.1")

    monkeypatch.setattr(release, "check", lambda *_: release.Installed("1.44.2", "26.10.2"))
    monkeypatch.setattr(translate, "load", load)
    monkeypatch.setattr(engines, "find", lambda _: Joining())
    report = checked(table, engine="rapidsmpf", release="26.10", gpus=1, purpose="query")
    assert (seen, report.failure) == (["imported", "joined"], Failure.NO_GPU)


def test_no_two_threads_look_at_one_frame(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[pl.LazyFrame] = []

    def sized(status: PreflightStatus, frame: pl.LazyFrame, *_: Any) -> PreflightStatus:
        looked.append(frame)
        return status

    def translated(_: Plan, frame: pl.LazyFrame, __: Any) -> translate.Translation:
        looked.append(frame)
        return translate.Translation()

    monkeypatch.setattr(release, "check", lambda *_: release.Installed("1.38.1", "26.4.0"))
    monkeypatch.setattr(translate, "load", lambda: None)
    monkeypatch.setattr(translate, "check", translated)
    monkeypatch.setattr(sizes, "filled", sized)
    wanted = plan(table, "select 1", engine="rapidsmpf", release="26.10", gpus=1, purpose="preflight")
    planned = pl.LazyFrame({"id": [1]})
    Checks(wanted).judge(Planned(planned))
    assert len({id(frame._ldf) for frame in (planned, *looked)}) == 3


def test_what_the_gpu_reader_lacks_is_found_before_the_engine_starts(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any) -> tuple[str, ...]:
        raise JobError(Failure.STORAGE_AUTH, "no credentials for the inputs")

    monkeypatch.setattr(release, "check", lambda *_: release.Installed("1.44.2", "26.10.2"))
    monkeypatch.setattr(translate, "load", lambda: None)
    monkeypatch.setattr(translate, "check", lambda *_: translate.Translation())
    monkeypatch.setattr(reader_rules, "check_access", lacking)
    report = checked(table, engine="rapidsmpf", release="26.10", gpus=1)
    assert (report.failure, report.message) == (Failure.STORAGE_AUTH, "no credentials for the inputs")


def test_a_format_that_no_gpu_engine_reads_is_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "check", lambda *_: release.Installed("1.44.2", "26.10.2"))
    inputs = {"t": f"file://{tmp_path}/missing.csv.gz"}
    wanted = plan(tmp_path, "select 1", engine="rapidsmpf", release="26.10", gpus=1, inputs=inputs)
    with pytest.raises(JobError, match="read no compressed CSV"):
        Checks(wanted)


CONTRACTS = [
    pytest.param({"id": {"type": "Int64"}, "name": {"type": "str"}}, [], id="as agreed"),
    pytest.param({"price": {"type": "Decimal"}}, [], id="a kind without arguments"),
    pytest.param({"id": {"type": "Int32"}}, ['column "id": wanted Int32, found Int64'], id="a type"),
    pytest.param({"price": {"type": "Decimal(15, 3)"}}, ["wanted Decimal(15, 3), found Decimal("], id="a scale"),
    pytest.param({"nme": {"type": "String"}}, ['"nme" is missing: wanted String (there is "name")'], id="a name"),
    pytest.param(
        {"id": {"type": "Date"}, "x": {"type": "Date"}}, ['"id": wanted Date', '"x" is missing'], id="every column"
    ),
    pytest.param({"name": {"type": "String", "nullable": False}}, ['"name" has a null', "a.parquet"], id="a null"),
    pytest.param({"id": {"type": "Int64", "nullable": False}}, [], id="no nulls"),
]


@pytest.mark.parametrize(("columns", "words"), CONTRACTS)
def test_a_contract_is_compared_column_by_column(table: Path, columns: Any, words: list[str]) -> None:
    report = checked(table, columns=columns)
    assert report.failure is (Failure.SCHEMA_MISMATCH if words else None)
    for word in words:
        assert word in report.message


def test_columns_beside_a_contract_are_refused_only_if_it_says_so(table: Path) -> None:
    assert checked(table, columns={"id": {"type": "Int64"}}, extra="allow").succeeded
    message = checked(table, columns={"id": {"type": "Int64"}}, extra="forbid").message
    assert 'column "name" (String) is not in the schema' in message and '"price"' in message


def test_nulls_are_counted_where_the_footer_does_not_tell(table: Path) -> None:
    for name in ("a", "b"):
        pl.read_parquet(table / f"{name}.parquet").write_parquet(table / f"{name}.parquet", statistics=False)
    message = checked(table, columns={"name": {"type": "String", "nullable": False}}).message
    assert '"name" has a null (first in ' in message and "a.parquet" in message


def test_nulls_inside_lists_are_none_of_the_column(table: Path) -> None:
    pl.DataFrame({"l": [[1, None], [2]]}).write_parquet(table / "a.parquet")
    (table / "b.parquet").unlink()
    columns = {"l": {"type": "List(Int64)", "nullable": False}}
    assert checked(table, "select l from t", columns=columns).succeeded
    pl.DataFrame({"l": [[1, None], None]}).write_parquet(table / "a.parquet")
    assert checked(table, "select l from t", columns=columns).failure is Failure.SCHEMA_MISMATCH


def test_a_contract_on_csv_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,name\n1,a\n2,\n")
    given = {"uri": f"file://{tmp_path}/x.csv", "schema": {"columns": {"name": {"type": "String", "nullable": False}}}}
    report = checked(tmp_path, inputs={"t": given})
    assert report.failure is Failure.SCHEMA_MISMATCH and '"name" has a null' in report.message


def test_the_run_itself_keeps_to_the_contract(table: Path) -> None:
    assert checked(table, columns={"id": {"type": "Date"}}, purpose="query").failure is Failure.SCHEMA_MISMATCH
    assert not (table / "out" / "data").exists()


TYPES: list[Any] = [
    ("Int64", pl.Int64), ("i64", pl.Int64), ("pl.UInt8", pl.UInt8), ("utf8", pl.String), ("BIGINT", pl.Int64),
    ("Decimal(15, 2)", pl.Decimal(15, 2)), ("decimal[15,2]", pl.Decimal(15, 2)),
    ("Decimal(scale=2, precision=15)", pl.Decimal(15, 2)), ("Datetime(time_zone='UTC')", pl.Datetime("us", "UTC")),
    ("INT", pl.Int32), ("Decimal(precision=15, scale=2)", pl.Decimal(15, 2)), ("Datetime('us')", pl.Datetime("us")),
    ("Datetime(time_unit='us', time_zone=None)", pl.Datetime("us")), ("datetime[μs]", pl.Datetime("us")),
    ("Datetime('ms', 'UTC')", pl.Datetime("ms", "UTC")), ("datetime[ns, UTC]", pl.Datetime("ns", "UTC")),
    ("Duration(ms)", pl.Duration("ms")), ("List(Int32)", pl.List(pl.Int32)),
    ("list[list[str]]", pl.List(pl.List(pl.String))),
    ("Array(Float32, 3)", pl.Array(pl.Float32, 3)), ("Array(Int64, shape=(2,))", pl.Array(pl.Int64, 2)),
    ("Struct({'a': Int64, 'b': List(String)})", pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)})),
    ("Struct({a: date})", pl.Struct({"a": pl.Date})), ("Enum(['x', 'y'])", pl.Enum(["x", "y"])),
    (" Boolean ", pl.Boolean),
]  # fmt: skip


@pytest.mark.parametrize(("text", "want"), TYPES, ids=[text for text, _ in TYPES])
def test_a_type_is_read_as_people_and_polars_write_it(text: str, want: Any) -> None:
    made = want() if isinstance(want, type) else want
    assert dtypes.fits(made, dtypes.parse(text))


@pytest.mark.parametrize("dtype", [t[1] for t in TYPES], ids=[t[0] for t in TYPES])
def test_what_polars_prints_of_a_type_is_read_back(dtype: Any) -> None:
    assert dtypes.fits(dtype() if isinstance(dtype, type) else dtype, dtypes.parse(repr(dtype)))


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        (pl.Datetime("us", "UTC"), "Datetime", True),
        (pl.Datetime("us", "UTC"), "Datetime('us')", False),
        (pl.List(pl.Datetime("ns")), "List(Datetime)", True),
        (pl.List(pl.Int8), "List(Int16)", False),
        (pl.Enum(["x"]), "Enum", True),
        (pl.Decimal(15, 2), "Decimal(16, 2)", False),
    ],
)
def test_a_type_without_arguments_fits_all_of_its_kind(found: pl.DataType, wanted: str, fits: bool) -> None:
    assert dtypes.fits(found, dtypes.parse(wanted)) is fits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Int65", "did you mean Int64?"),
        ("Strng", "did you mean String?"),
        ("Datetime('s')", "'ms', 'us' and 'ns'"),
        ("Int64(3)", "write Int64"),
        ("List(", "Decimal(15, 2)"),
        ("List(Int64, )(", "Decimal(15, 2)"),
        ("List()", "Decimal(15, 2)"),
        ("__import__('os').system('true')", "names no type"),
        ("Struct(3)", "Struct({'a': Int64"),
        ("(" * 250, "Decimal(15, 2)"),
        ("Decimal('x')", "Decimal(15, 2)"),
    ],
)
def test_a_text_that_names_no_type_is_told_with_the_way_out(table: Path, text: str, words: str) -> None:
    report = checked(table, columns={"id": {"type": text}})
    assert report.failure is Failure.SCHEMA_MISMATCH
    assert "inputs[t].schema.columns[id].type" in report.message and words in report.message


READER = [
    pytest.param("s3://lake/x/*.csv", "csv", "CSV from local files only", id="CSV in a store"),
    pytest.param("s3://lake/x.ndjson", "ndjson", "NDJSON from local files only", id="NDJSON in a store"),
    pytest.param("file:///x/a.csv.gz", "csv", "no compressed CSV", id="compressed"),
    pytest.param("file:///x/a.csv", "csv", "", id="CSV on this machine"),
    pytest.param("s3://lake/x/*.parquet", "parquet", "", id="parquet"),
]


@pytest.mark.parametrize(("uri", "format", "words"), READER)
def test_what_the_gpu_reader_cannot_read_is_named_with_its_input(uri: str, format: str, words: str) -> None:
    wanted = plan("file:///x", "select 1", inputs={"t": {"uri": uri, "format": format}}, engine="rapidsmpf")
    if not words:
        reader_rules.check_formats(wanted)
        return
    with pytest.raises(JobError) as caught:
        reader_rules.check_formats(wanted)
    assert caught.value.failure is Failure.INVALID_INPUT
    assert words in caught.value.message and 'input "t"' in caught.value.message and uri in caught.value.message


def session(monkeypatch: pytest.MonkeyPatch, *, ends: datetime | None = None, region: str | None = "eu-1") -> None:
    """Let boto3 find credentials somewhere else than in the environment."""
    frozen = SimpleNamespace(access_key="AKIA1234", secret_key=SECRET, token="t0ken" if ends else None)
    credentials = SimpleNamespace(get_frozen_credentials=lambda: frozen, _expiry_time=ends)
    made = SimpleNamespace(get_credentials=lambda: credentials, region_name=region)
    monkeypatch.setattr(client, "session", lambda: made)


def test_credentials_of_a_cloud_identity_reach_the_gpu_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch, ends=datetime.now(UTC) + timedelta(minutes=59.5))
    access = StoreAccess(endpoint="http://lake:8333", path_style=True)
    found, warnings = S3().reader_variables(access)
    assert found == {
        "AWS_ACCESS_KEY_ID": "AKIA1234", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": "t0ken",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://lake:8333",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }  # fmt: skip
    assert len(warnings) == 1 and "end in 59 minutes" in warnings[0]
    assert SECRET not in warnings[0] and "t0ken" not in warnings[0]


def test_the_environment_is_filled_for_inputs_in_a_store_only(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch)
    environment: dict[str, str] = {}
    monkeypatch.setattr(reader_rules.os, "environ", environment)
    reader_rules.export(plan("s3://lake/out", "select 1", inputs={"t": "file:///x/a.parquet"}))
    assert environment == {}
    reader_rules.export(plan("s3://lake/out", "select 1", inputs={"t": "s3://lake/a.parquet"}))
    assert environment["AWS_SECRET_ACCESS_KEY"] == SECRET and environment["AWS_DEFAULT_REGION"] == "eu-1"


def test_what_the_gpu_reader_would_lack_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch, region=None)
    with pytest.raises(JobError, match=r"storage\.region"):
        S3().reader_variables(StoreAccess())
    monkeypatch.setattr(client, "session", lambda: SimpleNamespace(get_credentials=lambda: None, region_name="eu-1"))
    with pytest.raises(JobError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as caught:
        S3().reader_variables(StoreAccess())
    assert caught.value.failure is Failure.STORAGE_AUTH


def test_a_bucket_in_the_host_name_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch)
    _, warnings = S3().reader_variables(StoreAccess(endpoint="https://s3.example.com", path_style=False))
    assert len(warnings) == 1 and "storage.pathStyle" in warnings[0]


def test_a_preflight_on_a_machine_without_the_release_says_what_it_did_not_check(table: Path) -> None:
    given = {"t": f"file://{table}/*.parquet"}
    wanted = plan(table / "new" / "er", "select id from t", engine="rapidsmpf", release="26.10", inputs=given)
    report = local.preflight(wanted, runs_code=False)
    assert report.preflight is not None and report.preflight.rows == 5
    assert "was not checked" in report.preflight.warnings[0] and "26.10" in report.preflight.warnings[0]
    assert not (table / "new").exists(), "the probe of the output leaves no folder"


def test_the_input_model_takes_the_contract_under_the_name_schema() -> None:
    given = {"name": "t", "uri": "s3://lake/t/", "schema": {"columns": {"a": {"type": "Int64"}}}}
    assert Input.model_validate(given).contract is not None


@pytest.mark.parametrize(
    ("installed", "changes", "failure", "words"),
    [
        pytest.param(
            {"polars": "1.38.1"}, {"engine": "cpu"}, Failure.RELEASE_MISMATCH, [">=1.44.2,<1.45", "Polars 1.38.1"],
            id="an older Polars on the CPU",
        ),
        pytest.param(
            {"polars": "1.45.0"}, {"engine": "cpu"}, Failure.RELEASE_MISMATCH, ["Polars 1.45.0"], id="a newer one",
        ),
        pytest.param({"polars": "1.44.2"}, {"engine": "cpu"}, None, [], id="the one that was compared"),
        pytest.param({"polars": "1.38.1"}, {"engine": "cpu", "language": "python"}, None, [], id="no SQL"),
        pytest.param({"polars": "1.38.1"}, {"engine": "cpu", "dialect": "polars"}, None, [], id="Polars' own SQL"),
        pytest.param(
            {"polars": "1.32.3", "cudf_polars": "25.10.0"}, {"engine": "tasks"}, Failure.UNSUPPORTED_QUERY,
            ["RAPIDS 25.10", "two nested casts", "query.python"], id="GPUs that drop casts",
        ),
        pytest.param(
            {"polars": "1.38.1", "cudf_polars": "26.4.0"}, {"engine": "tasks"}, None, [], id="GPUs that do not",
        ),
    ],
)  # fmt: skip
def test_sql_is_refused_where_what_is_installed_does_otherwise(
    installed: Mapping[str, str], changes: Mapping[str, Any], failure: Failure | None, words: list[str]
) -> None:
    wanted = plan("file:///x", "select 1", **changes)
    if failure is None:
        release.check_sql(wanted, release.Installed(**installed))
        return
    with pytest.raises(JobError) as caught:
        release.check_sql(wanted, release.Installed(**installed))
    assert caught.value.failure is failure
    assert [word for word in words if word not in caught.value.message] == [], caught.value.message


@pytest.mark.parametrize(
    ("polars", "expectation", "refused"),
    [
        pytest.param("1.38.1", {"sql": "SELECT count(*) > 0 FROM result"}, True, id="SQL on an older Polars"),
        pytest.param(
            "1.44.2", {"sql": "SELECT count(*) > 0 FROM result"}, False, id="SQL on the one that was compared"
        ),
        pytest.param("1.38.1", {"unique": ["a"]}, False, id="no SQL"),
    ],
)
def test_sql_of_an_expectation_needs_the_polars_that_was_compared(
    polars: str, expectation: Mapping[str, Any], refused: bool
) -> None:
    wanted = plan("file:///x", "select 1", engine="tasks", output={"uri": "file:///x", "expect": [expectation]})
    here = release.Installed(polars=polars, cudf_polars="26.4.0")
    if not refused:
        release.check_expectations(wanted, here)
        return
    with pytest.raises(JobError, match=r"UnsupportedQuery: output.expect: sql needs Polars >=1.44.2,<1.45.*1.38.1"):
        release.check_expectations(wanted, here)


def test_a_preflight_refuses_an_expectation_that_the_result_cannot_meet(table: Path) -> None:
    given = {"t": f"file://{table}/*.parquet"}
    output = {"uri": f"file://{table}/out", "expect": [{"unique": ["ids"]}]}
    report = local.preflight(plan(table, "select id from t", inputs=given, output=output), runs_code=False)
    assert report.failure is Failure.USER_ERROR and "did you mean 'id'" in report.message
    assert not (table / "out").exists()


def test_the_polars_that_is_locked_is_one_whose_sql_was_compared() -> None:
    release.check_sql(plan("file:///x", "select 1"), release.installed())
