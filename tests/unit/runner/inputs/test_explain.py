"""Broken files: the input, the file and the place are named, whatever a reader makes of them, and nothing else is."""

import gzip
import json
import os

import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import examine
from gpuquery.runner.inputs.explain import lookup, text
from tests.support import broken_files
from tests.support.runner import plan, result, run

ACCESS = StoreAccess()


def item(uri, **changes):
    given = {"name": "t", "uri": f"file://{uri}", "format": "parquet", "hivePartitioned": False}
    return Input.model_validate({**given, **changes})


def files(folder, broken=b"", ending="parquet", good=None):
    """Four files of which the third is broken."""
    for n in range(4):
        data = good(n) if good else broken_files.parquet(n * broken_files.ROWS)
        (folder / f"{n}.{ending}").write_bytes(broken if n == 2 else data)
    return f"{folder}/*.{ending}"


def looked(wanted, resolved=None, columns=None, *, decode=True):
    """What the program finds that reads files one by one, run in this process."""
    out = os.memfd_create("out")
    task = lookup.Task((wanted,), ACCESS, resolved, columns, decode)
    examine.perform(json.loads(task.to_json(one_by_one=False)), out)
    told = [json.loads(line) for line in os.pread(out, 1 << 20, 0).splitlines()]
    return [lookup.Broken(**one["file"]) for one in told if one["kind"] == "broken"], told[-1]


CRASHES = {"a page that crashes the reader"}


@pytest.mark.parametrize("fault", [name for name in broken_files.PARQUET if name not in CRASHES])
def test_the_broken_one_of_four_parquet_files_is_found(tmp_path, fault):
    uri = files(tmp_path, broken_files.PARQUET[fault](broken_files.parquet()))
    found, end = looked(item(uri))
    assert [one.file for one in found] == [f"{tmp_path}/2.parquet"], fault
    assert end["over"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("a web page", "it is no parquet but a web page or a store's error message: '<html>", id="a page"),
        pytest.param("zeros in a page", 'cannot be read at row group 1, column "a": ', id="zeros"),
        pytest.param("cut in half", "PAR1", id="a file that was cut"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, fault, words):
    found, _ = looked(item(files(tmp_path, broken_files.PARQUET[fault](broken_files.parquet()))))
    message = text.of_broken(found)
    assert message.startswith(f'input "t": {tmp_path}/2.parquet')
    assert words in message
    assert len(message) <= text.MAX_CHARACTERS


def test_a_column_that_the_query_does_not_read_is_not_looked_at(tmp_path):
    wanted = item(files(tmp_path, broken_files.zeroed(broken_files.parquet())))
    resolved = inputs.resolve([wanted], ACCESS)
    assert looked(wanted, resolved, {"t": ["s"]})[0] == []
    assert [one.column for one in looked(wanted, resolved, {"t": ["s", "a"]})[0]] == ["a"]


def test_several_broken_files_are_named_and_not_all_of_hundreds(tmp_path):
    for n in range(30):
        (tmp_path / f"{n:02}.parquet").write_bytes(broken_files.HTML)
    message = text.of_broken(looked(item(f"{tmp_path}/*.parquet"), decode=False)[0])
    assert all(f"{n:02}.parquet" in message for n in range(2))
    assert "06.parquet" not in message
    assert len(message) <= text.MAX_CHARACTERS


def cut_gzip(n):
    return gzip.compress(b"a,s\n" + b"".join(b"%d,x\n" % (n * 1000 + i) for i in range(5000)))


def lines(n):
    return b"".join(b'{"a": %d}\n' % (n * 1000 + i) for i in range(50))


@pytest.mark.parametrize(
    ("ending", "format", "good", "broken"),
    [
        pytest.param("csv.gz", "csv", cut_gzip, cut_gzip(2)[:-800], id="gzip that was cut"),
        pytest.param("csv.gz", "csv", cut_gzip, broken_files.HTML, id="a web page in place of gzip"),
        pytest.param("ndjson", "ndjson", lines, lines(2)[:-5], id="JSON that was cut in a line"),
        pytest.param("ndjson", "ndjson", lines, broken_files.HTML, id="a web page in place of JSON"),
    ],
)
def test_the_broken_one_of_four_text_files_is_found(tmp_path, ending, format, good, broken):
    wanted = item(files(tmp_path, broken, ending, good), format=format)
    found, _ = looked(wanted)
    assert [one.file.rpartition("/")[2] for one in found] == [f"2.{ending}"]


def test_a_broken_file_fails_the_job_with_its_name_and_is_not_retried(tmp_path):
    uri = files(tmp_path, broken_files.zeroed(broken_files.parquet()))
    report = run(plan(tmp_path, "select sum(a) as a, max(s) as s from t", inputs={"t": f"file://{uri}"}))
    assert report.failure is Failure.INVALID_INPUT
    assert report.message.startswith(f'input "t": {tmp_path}/2.parquet cannot be read at row group 1, column "a": ')


def test_a_file_that_crashes_the_reader_is_found_by_a_process_that_dies_of_it(tmp_path):
    wanted = item(files(tmp_path, broken_files.crashing(broken_files.parquet())))
    found = lookup.broken(lookup.Task((wanted,), ACCESS)).broken
    message = text.of_broken(found)
    assert message.startswith(f'input "t": {tmp_path}/2.parquet cannot be read at row group 2: native code crashed')
    assert "memory allocation of" in message


def test_a_file_that_was_replaced_while_it_was_read_is_a_change_and_no_broken_file(tmp_path):
    wanted = inputs.resolve([item(files(tmp_path, broken_files.parquet(2000)))], ACCESS)
    (tmp_path / "2.parquet").write_bytes(broken_files.HTML)
    error = pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: bad data")
    found = inputs.blamed(error, wanted, ACCESS)
    assert found.failure is Failure.INPUT_CHANGED
    assert f"{tmp_path}/2.parquet" in found.message


# Who is not to blame.


def test_a_file_whose_other_column_differs_is_innocent_of_another_inputs_fault(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    pq.write_table(pa.table({"a": [1], "b": [3]}), folder / "0.parquet")
    pq.write_table(pa.table({"a": [2], "b": [4]}), folder / "1.parquet")
    (tmp_path / "late.ndjson").write_text("".join(f'{{"k": {n if n < 150 else n + 0.5}}}\n' for n in range(200)))
    wanted = plan(
        tmp_path, "select t.a, count(*) as n from t join l on t.a = l.k group by t.a",
        inputs={"t": f"file://{folder}/*.parquet", "l": f"file://{tmp_path}/late.ndjson"},
    )  # fmt: skip
    report = run(wanted)
    if report.failure is not None:
        assert report.failure is Failure.INVALID_INPUT
        assert "late.ndjson" in report.message
        assert "0.parquet" not in report.message
    else:
        assert sorted(result(tmp_path).rows()) == [(1, 1), (2, 1)]


def test_an_error_of_the_query_stays_one(tmp_path):
    uri = files(tmp_path, broken_files.parquet(2000))
    report = run(plan(tmp_path, "select cast(s as integer) as n from t", inputs={"t": f"file://{uri}"}))
    assert report.failure is Failure.USER_ERROR


def test_an_error_of_the_store_keeps_its_class(tmp_path):
    wanted = item(files(tmp_path, broken_files.parquet(2000)))
    found = inputs.blamed(
        PermissionError(13, "Permission denied", f"{tmp_path}/2.parquet"), inputs.resolve([wanted], ACCESS), ACCESS
    )
    assert isinstance(found, JobError)
    assert found.failure is Failure.STORAGE_AUTH
    assert found.message.startswith(f'input "t": reading {tmp_path}/2.parquet: ')


def test_an_error_about_the_output_blames_no_input(tmp_path):
    wanted = item(files(tmp_path, broken_files.parquet(2000)))
    found = inputs.blamed(
        PermissionError(13, "Permission denied", "/out/x.parquet"), inputs.resolve([wanted], ACCESS), ACCESS
    )
    assert found is None


def test_a_broken_file_of_a_table_is_found_by_its_place(tmp_path):
    deltalake.write_deltalake(f"{tmp_path}/t", broken_files.table())
    (broken,) = (tmp_path / "t").glob("*.parquet")
    good = broken.read_bytes()
    wanted = Input.model_validate({"name": "t", "uri": f"file://{tmp_path}/t", "delta": {}})
    resolved = inputs.resolve([wanted], ACCESS)
    broken.write_bytes(broken_files.changed(good, broken_files.chunk(good, 0, 2).data_page_offset, bytes(40)))
    found, _ = looked(wanted, resolved)
    assert [(one.file.rpartition("/")[2], one.column) for one in found] == [(broken.name, "f")]
