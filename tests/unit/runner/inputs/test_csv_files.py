"""CSV: files, headers, lines, encodings and compressions."""

import bz2
import gzip
import lzma
import tempfile
import zlib
from pathlib import Path

import duckdb
import polars as pl
import pytest

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs.formats import contents
from tests.support.read_inputs import passed_on, read, refusal
from tests.unit.runner.inputs.test_csv_values import item, written


def zstd(text):
    """Compress with DuckDB, which is independent of the reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.zst"
        lines = [tuple(line.split(",")) for line in text.decode().splitlines()]
        values = ",".join(f"('{a}', '{b}')" for a, b in lines)
        duckdb.sql(f"COPY (FROM (VALUES {values})) TO '{path}' (FORMAT csv, HEADER false, COMPRESSION zstd)")
        return Path(path).read_bytes()


TEXT = b"a,b\n1,x\n2,y\n"
ROWS = [(1, "x"), (2, "y")]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zst", "txt"])
@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda text: gzip.compress(text[:5], mtime=0) + gzip.compress(text[5:]), id="gzip in two members"),
        pytest.param(zlib.compress, id="zlib"),
        pytest.param(zstd, id="zstd"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="byte order mark"),
        pytest.param(lambda text: gzip.compress(b"\xef\xbb\xbf" + text, mtime=0), id="byte order mark in gzip"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="carriage returns and line feeds"),
        pytest.param(lambda text: text.rstrip(b"\n"), id="a last line without an end"),
        pytest.param(lambda text: b"\n\n" + text, id="blank lines before the header"),
    ],
)
def test_what_a_file_holds_counts_and_not_its_ending(tmp_path, packed, ending):
    (tmp_path / f"x.{ending}").write_bytes(packed(TEXT))
    assert read(item(tmp_path / f"x.{ending}")).rows() == ROWS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bz2.compress(TEXT), "bz2"),
        (lzma.compress(TEXT), "xz"),
        (b"\x04\x22\x4d\x18" + b"\0" * 20, "lz4"),
        (b"PK\x03\x04" + b"\0" * 20, "zip"),
        (b"PAR1" + b"\x15\0" * 20, "format: parquet"),
        (TEXT.decode().encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        (TEXT.decode().encode("utf-16-le"), "UTF-16"),
        (b"\xff\xfe\0\0" + TEXT.decode().encode("utf-32-le"), "iconv -f UTF-32 -t UTF-8"),
        (gzip.compress(bz2.compress(TEXT), mtime=0), "bz2"),
        (gzip.compress(TEXT * 100, mtime=0)[:-20], "damaged"),
        (gzip.compress(TEXT, mtime=0) + b"\0" * 512, "damaged"),
        (gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), "gzip twice"),
        (b"sep=;\r\na;b\r\n1;x\r\n", "line 1 is 'sep=;', which tells Excel the separator"),
        ("a,b\n1,x\n2,café\n".encode("latin-1"), "line 3 is not UTF-8 (byte 0xe9)"),
        ("a,caf\xe9\n1,x\n".encode("latin-1"), "line 1 is not UTF-8"),
        (b"a,b\n1,x\n2,y\0\n", "line 3 has a NUL byte"),
        (b"a,b\r1,x\r2,y\r", "carriage returns alone"),
        (b"a,b\n1,x\n2,y\rz\n", "line 3 has a carriage return"),
        (b"a,b\n1,x\n2\n", "line 3 has 1 field, and there are 2 columns: '2'"),
        (b"a,b\n1,x\n2,y,z\n", "line 3 has 3 fields, and there are 2 columns: '2,y,z'"),
        (b"a,b\n1,x,y\n2\n", "line 2 has 3 fields"),
        (b'a,b\n1,"two\nlines"\n2\n', "line 4 has 1 field"),
        (b'a,b\n1,x\n2,"y\n', "line 3 has a quoted field that does not end"),
        (b'a,b\n1,x\n2,"y"z\n', "line 3 has a quoted field that goes on"),
        (b'a,b\n1,5" x\n2,"y"\n', "line 2 has a quote within a field"),
        (b"a,b,a\n1,2,3\n", 'has the column "a" more than once (columns 1, 3)'),
        (b"a,b\n1,x\n\n,\n", "line without anything (line 3)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_exactly_is_named_with_the_reason(tmp_path, data, said):
    (tmp_path / "good.csv").write_bytes(TEXT)
    (tmp_path / "odd.csv").write_bytes(data)
    message = refusal(item(f"{tmp_path}/*.csv"))
    assert f'input "t": {tmp_path}/odd.csv: ' in message
    assert said in message


@pytest.mark.parametrize(
    ("texts", "names", "rows"),
    [
        pytest.param(["a,b\n1,x\n\n2,y\n\n\n"], "ab", ROWS, id="lines without anything are no rows"),
        pytest.param(["a,b\r\n1,x\r\n\r\n2,y\r\n"], "ab", ROWS, id="nor are those of Windows"),
        pytest.param(["a\n1\n\n2\n"], "a", [(1,), (None,), (2,)], id="in one column they are null"),
        pytest.param(["a,b\n1,x\n,\n"], "ab", [(1, "x"), (None, None)], id="empty fields are a row"),
        pytest.param(["a,b\n1,x\n", "b,a\ny,2\n"], "ab", ROWS, id="columns in another order"),
        pytest.param(["a,b\n1,x\n", "a,b\n"], "ab", [(1, "x")], id="a header alone has no rows"),
        pytest.param(["a,b\n", "a,b\n1,x\n"], "ab", [(1, "x")], id="nor does the first file's"),
        pytest.param(["a,b\n1,x\n", ""], "ab", [(1, "x")], id="an empty file has no rows"),
        pytest.param(["a,b\n1,x\n", "\n\n"], "ab", [(1, "x")], id="nor has one of blank lines"),
        pytest.param(["a,b\n"], "ab", [], id="no rows at all"),
        pytest.param(["a\n1\n", "a,b\n2,y\n"], "ab", [(1, None), (2, "y")], id="a column that some files lack"),
        pytest.param([",b\n1,x\n"], ["column_1", "b"], [(1, "x")], id="a column without a name"),
        pytest.param(['a,"b ""c"""\n1,x\n'], ["a", 'b "c"'], [(1, "x")], id="a quoted header"),
        pytest.param(['"a\nb",c\n1,x\n'], ["a\nb", "c"], [(1, "x")], id="a header of two lines"),
        pytest.param(['a,b\n1,5" x\n2,6"\n'], "ab", [(1, '5" x'), (2, '6"')], id="quotes that enclose nothing"),
        pytest.param(['a\n5"\n6"\n'], "a", [('5"',), ('6"',)], id="nor in one column"),
        pytest.param(['a,b\n1,"x\n\ny"\n'], "ab", [(1, "x\n\ny")], id="blank lines within quotes"),
        pytest.param(["a\n\u2028\n\x85\n"], "a", [("\u2028",), ("\x85",)], id="line ends of Unicode end no line"),
    ],
)
def test_files_and_lines(tmp_path, texts, names, rows):
    frame = read(item(written(tmp_path, *texts)))
    assert frame.columns == list(names)
    assert frame.rows() == rows


@pytest.mark.parametrize(
    ("texts", "changes", "said"),
    [
        (["a,b\n1,x\n", "c,d\n2,y\n"], {}, "has no column of"),
        (["a,b\n1,x\n", "a\n2\n"], {"schemaEvolution": "strict"}, 'differ in "b"), and schemaEvolution is strict'),
        (["1,x\n", "2\n"], {"csv": {"header": False}}, "has 1 columns, and"),
    ],
)
def test_files_that_are_no_one_table_are_both_named(tmp_path, texts, changes, said):
    message = refusal(item(written(tmp_path, *texts), **changes))
    assert said in message
    assert "0.csv" in message
    assert "1.csv" in message


def test_files_without_any_line_are_refused(tmp_path):
    assert "none of its files has a line" in refusal(item(written(tmp_path, "\r\n", "\n")))


def test_columns_that_some_files_lack_are_told(tmp_path):
    found = passed_on(item(written(tmp_path, "a\n1\n", "a,b\n2,y\n", "b,a\nz,3\n")))
    assert found.warnings == ('input "t": some of its 3 files lack columns, which are null there: "b" (1)',)


def test_files_without_a_header_have_numbers_for_names(tmp_path):
    frame = read(item(written(tmp_path, "1,x\n", "2,y\n"), csv={"header": False}))
    assert frame.columns == ["column_1", "column_2"]
    assert frame.rows() == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_blank_line_before_the_first_record_of_a_file_without_a_header_is_told(tmp_path, end):
    message = refusal(item(written(tmp_path, "1,x\n", f"{end}2,y{end}"), csv={"header": False}))
    assert f"{tmp_path}/1.csv: begins with a line without anything" in message


def test_the_place_of_a_row_can_be_asked_for(tmp_path):
    found = passed_on(item(written(tmp_path, "a,b\n1,x\n", "b,a\ny,2\n")))
    frame = found.frame(StoreAccess(), places="at").collect()
    assert frame["at"].to_list() == [f"{tmp_path}/0.csv", f"{tmp_path}/1.csv"]


def test_the_plain_case_is_one_plain_scan(tmp_path):
    found = passed_on(item(written(tmp_path, "a,b\n1,x\n", "a,b\n2,y\n")))
    assert found.frame(StoreAccess()).explain().startswith("Csv SCAN")


def test_many_small_files_are_looked_at_together(tmp_path):
    for at in range(300):
        (tmp_path / f"{at:03}.csv").write_text(f"a,b\n{at},x\n")
    assert read(item(f"{tmp_path}/*.csv"))["a"].to_list() == list(range(300))


def test_a_bad_line_among_many_small_files_is_named(tmp_path):
    for at in range(300):
        (tmp_path / f"{at:03}.csv").write_text("a,b\n1,x\n" if at != 222 else "a,b\n1,x\n1\n")
    assert f"{tmp_path}/222.csv: line 3 has 1 field" in refusal(item(f"{tmp_path}/*.csv"))


def test_long_files_are_cut_between_records(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "BLOCK", 100)
    body = "".join(f'{at},"line {at}\nand, ""more"""\n' for at in range(100))
    frame = read(item(written(tmp_path, "n,v\n" + body)))
    assert frame.rows() == [(at, f'line {at}\nand, "more"') for at in range(100)]


def test_a_sample_begins_between_lines(tmp_path, tiny_sample):
    texts = ["n,v\n" + "".join(f"{at},{at / 4}\n" for at in range(5000)) for _ in range(3)]
    found = passed_on(item(written(tmp_path, *texts)))
    assert found.schema == {"n": pl.Int64, "v": pl.Float64}
    assert found.frame(StoreAccess()).select(pl.col("v").sum()).collect().item() == 3 * sum(range(5000)) / 4
