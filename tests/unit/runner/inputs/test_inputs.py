"""Inputs: every format is read, and what cannot be read is named with its input and its files."""

import gzip
from datetime import date

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from tests.support.runner import plan, run

ROWS = pl.DataFrame({"a": [1, 2], "b": ["x", None], "d": [date(1994, 1, 1), date(1995, 1, 1)]})


def item(uri, **changes):
    given = {"name": "t", "uri": f"file://{uri}", "format": "parquet", "hivePartitioned": str(uri).endswith("/")}
    return Input.model_validate({**given, **changes})


def opened(*items):
    return inputs.frames(inputs.resolve(items, StoreAccess()), StoreAccess())


def refusal(*items):
    with pytest.raises(JobError) as caught:
        opened(*items)
    return caught.value


def test_a_glob_of_parquet_is_one_table(tmp_path):
    for n in range(2):
        ROWS.write_parquet(tmp_path / f"{n}.parquet")
    assert opened(item(f"{tmp_path}/*.parquet"))["t"].collect().height == 4


def test_a_folder_is_read_with_all_below_it_and_its_keys_as_columns(tmp_path):
    for year in (1994, 1995):
        (tmp_path / f"year={year}" / "m=a%2Fb").mkdir(parents=True)
        ROWS.write_parquet(tmp_path / f"year={year}" / "m=a%2Fb" / "x.parquet")
    frame = opened(item(f"{tmp_path}/"))["t"].collect()
    assert frame.height == 4
    assert set(frame["year"]) == {1994, 1995}
    assert set(frame["m"]) == {"a/b"}


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_is_read_with_its_options(tmp_path, ending):
    text = b"a;b;d\n1;NA;1994-01-01\n2;y;1995-01-01\n"
    (tmp_path / f"x.{ending}").write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    frame = opened(item(f"{tmp_path}/*.{ending}", format="csv", csv={"separator": ";", "nullValues": ["NA"]}))[
        "t"
    ].collect()
    assert frame.rows() == [(1, None, date(1994, 1, 1)), (2, "y", date(1995, 1, 1))]


def test_csv_without_a_header_numbers_its_columns(tmp_path):
    (tmp_path / "x.csv").write_text("1,x\n2,y\n")
    frame = opened(item(f"{tmp_path}/x.csv", format="csv", csv={"header": False}))["t"].collect()
    assert frame.columns == ["column_1", "column_2"]
    assert frame.height == 2


def test_ndjson_is_read(tmp_path):
    (tmp_path / "x.ndjson").write_text('{"a": 1, "b": {"c": [1, 2]}}\n{"a": 2, "b": null}\n')
    frame = opened(item(f"{tmp_path}/*.ndjson", format="ndjson"))["t"].collect()
    assert frame["a"].to_list() == [1, 2]
    assert frame["b"][0] == {"c": [1, 2]}


@pytest.mark.parametrize("format", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("uri", ["nothing/*.x", "nothing.x"])
def test_an_input_that_matches_no_file_is_named(tmp_path, format, uri):
    error = refusal(item(f"{tmp_path}/{uri}", format=format))
    assert error.failure is Failure.INVALID_INPUT
    assert error.message.startswith(f'input "t": no file matches file://{tmp_path}/{uri}; there is nothing in file://')


def test_an_input_that_matches_no_file_is_told_with_what_is_there(tmp_path):
    for name in ("b.parquet", "a.csv"):
        (tmp_path / name).touch()
    error = refusal(item(f"{tmp_path}/*.ndjson"))
    assert error.message.endswith(f"in file://{tmp_path}/ there is a.csv, b.parquet")


def test_what_is_there_is_told_with_the_closest_name_first(tmp_path):
    for name in ("a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "in.parquet"):
        (tmp_path / name).touch()
    error = refusal(item(f"{tmp_path}/inn.parquet"))
    assert error.message.endswith("there is in.parquet, a.yaml, b.yaml, c.yaml, d.yaml, ...")


def test_a_table_of_this_project_is_an_input(tmp_path):
    report = run(
        plan(
            tmp_path, "select 1 as a, 'x/y' as k union all select 2, 'é'",
            output={"uri": f"file://{tmp_path}/table", "partitionBy": ["k"]},
        )
    )  # fmt: skip
    frame = opened(item(f"{tmp_path}/table/data/"))["t"].collect()
    assert sorted(frame.select("a", "k").rows()) == [(1, "x/y"), (2, "é")]
    assert report.committed is not None
    assert report.committed.uri == f"file://{tmp_path}/table/data/"


@pytest.mark.parametrize("ending", ["", "/", "/*.parquet"])
def test_the_root_of_a_table_is_refused_with_the_uri_to_use(tmp_path, ending):
    run(plan(tmp_path, "select 1 as a", output={"uri": f"file://{tmp_path}/table"}))
    error = refusal(item(f"{tmp_path}/table{ending}"))
    assert error.failure is Failure.INVALID_INPUT
    assert f"file://{tmp_path}/table/data/" in error.message


@pytest.mark.parametrize(("format", "uri"), [("csv", "k=1/x.csv"), ("ndjson", "k=1/x.ndjson")])
def test_keys_of_folders_are_refused_where_only_parquet_has_them(tmp_path, format, uri):
    (tmp_path / "k=1").mkdir()
    (tmp_path / uri).write_text("a\n1\n" if format == "csv" else '{"a": 1}\n')
    error = refusal(item(f"{tmp_path}/{uri}", format=format, hivePartitioned=True))
    assert error.failure is Failure.INVALID_INPUT
    assert "hivePartitioned: false" in error.message


@pytest.mark.parametrize("text", [b"", b"no parquet at all, but long enough to have a footer"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, text):
    (tmp_path / "x.parquet").write_bytes(text)
    error = refusal(item(f"{tmp_path}/x.parquet"))
    assert error.failure is Failure.INVALID_INPUT
    assert '"t"' in error.message
    assert "x.parquet" in error.message


def _csv(folder, *frames):
    for n, frame in enumerate(frames):
        frame.write_csv(folder / f"{n}.csv")
    return {"uri": f"file://{folder}/*.csv"}


def _ndjson(folder, *frames):
    for n, frame in enumerate(frames):
        frame.write_ndjson(folder / f"{n}.ndjson")
    return {"uri": f"file://{folder}/*.ndjson"}


A, TEXT, B, BOTH = (pl.DataFrame(d) for d in ({"a": [1]}, {"a": ["x"]}, {"b": [1]}, {"a": [1], "b": [1]}))


@pytest.mark.parametrize(
    ("write", "frames", "columns"),
    [
        pytest.param(_csv, (A, B), ['"a"', '"b"'], id="CSV: another name"),
        pytest.param(_ndjson, (A, TEXT), ['"a" is a whole number', "and text"], id="NDJSON: another type"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_together_are_named_with_their_columns(tmp_path, write, frames, columns):
    folder = tmp_path / "in"
    folder.mkdir()
    report = run(plan(tmp_path, "select * from t", inputs={"t": write(folder, *frames)}))
    assert report.failure is Failure.INVALID_INPUT
    for word in ['input "t"', f"{folder}/0.", f"{folder}/1.", *columns]:
        assert word in report.message
    assert not list(tmp_path.glob("out/_commits/*.json"))
