"""CSV: values, types, nulls and quotes, against DuckDB and Python's csv."""

import csv
import datetime
import io
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs.formats import contents
from tests.support.read_inputs import passed_on, read, refusal

UTC = datetime.UTC


def item(uri, **changes):
    return Input.model_validate({"name": "t", "uri": f"file://{uri}", "format": "csv", **changes})


def written(tmp_path, *texts, name="{}.csv"):
    for at, text in enumerate(texts):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name.format(at)).write_bytes(data)
    return f"{tmp_path}/*.csv"


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        pytest.param(["1", "-2", "0"], pl.Int64, [1, -2, 0], id="whole numbers"),
        pytest.param(["00501", "10001"], pl.String, ["00501", "10001"], id="a leading zero is text"),
        pytest.param(["+1", "2"], pl.String, ["+1", "2"], id="a plus is text"),
        pytest.param([" 1", "2"], pl.String, [" 1", "2"], id="a blank is text"),
        pytest.param(["1e5", "2"], pl.String, ["1e5", "2"], id="an exponent is text"),
        pytest.param(["-0", "1"], pl.String, ["-0", "1"], id="minus zero is text"),
        pytest.param(["1.", "2"], pl.String, ["1.", "2"], id="a point without digits behind it is text"),
        pytest.param([".5", "2"], pl.String, [".5", "2"], id="a point without digits before it is text"),
        pytest.param(["1", "2.5"], pl.Float64, [1.0, 2.5], id="whole numbers and fractions are fractions"),
        pytest.param(["1.10", "0.1"], pl.Float64, [1.1, 0.1], id="zeros behind a fraction do not change it"),
        pytest.param(["0.30000000000000004"], pl.Float64, [0.30000000000000004], id="seventeen digits of a DOUBLE"),
        pytest.param(["0.12345678901234567890"], pl.String, ["0.12345678901234567890"], id="too many digits"),
        pytest.param(["9007199254740993", "0.5"], pl.String, ["9007199254740993", "0.5"], id="too large beside 0.5"),
        pytest.param(["9223372036854775807"], pl.Int64, [2**63 - 1], id="the largest BIGINT"),
        pytest.param(["9223372036854775808"], pl.String, ["9223372036854775808"], id="beyond 64 bits"),
        pytest.param(["NaN", "1.5"], pl.String, ["NaN", "1.5"], id="NaN is text"),
        pytest.param(["inf", "1.5"], pl.String, ["inf", "1.5"], id="inf is text"),
        pytest.param(["true", "false"], pl.Boolean, [True, False], id="true and false"),
        pytest.param(["true", "TRUE"], pl.String, ["true", "TRUE"], id="other truths are text"),
        pytest.param(["true", "1"], pl.String, ["true", "1"], id="true and a number"),
        pytest.param(["2024-02-29"], pl.Date, [datetime.date(2024, 2, 29)], id="a date"),
        pytest.param(["2024-02-30"], pl.String, ["2024-02-30"], id="no date"),
        pytest.param(["2024-2-9"], pl.String, ["2024-2-9"], id="a date without zeros"),
        pytest.param(["0001-01-01", "9999-12-31"], pl.Date, [datetime.date.min, datetime.date.max], id="far dates"),
        pytest.param(
            ["2024-02-29 12:34:56", "2024-02-29T12:34:56.5"],
            pl.Datetime("us"),
            [datetime.datetime(2024, 2, 29, 12, 34, 56), datetime.datetime(2024, 2, 29, 12, 34, 56, 500_000)],
            id="timestamps",
        ),
        pytest.param(
            ["2024-02-29T12:34:56Z"],
            pl.Datetime("us", "UTC"),
            [datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)],
            id="timestamps of UTC",
        ),
        pytest.param(
            ["2024-02-29T12:34:56+02:00"], pl.String, ["2024-02-29T12:34:56+02:00"], id="an offset is text",
        ),
        pytest.param(["2024-02-29", "2024-02-29 00:00:00"], pl.String, ["2024-02-29", "2024-02-29 00:00:00"], id="2"),
        pytest.param(["2024-02-29 24:00:00"], pl.String, ["2024-02-29 24:00:00"], id="no time of a day"),
        pytest.param(["12:34:56"], pl.String, ["12:34:56"], id="a time of day is text"),
        pytest.param(["", ""], pl.String, [None, None], id="nothing is text"),
        pytest.param(["", "1", ""], pl.Int64, [None, 1, None], id="empty fields are null"),
        pytest.param(['""', "1"], pl.Int64, [None, 1], id="quoted empty numbers are null, as in DuckDB"),
        pytest.param(['""', "x", ""], pl.String, ["", "x", None], id="quoted empty text is empty, as COPY has it"),
        pytest.param(['"1"', '"2"'], pl.Int64, [1, 2], id="quoted numbers are numbers"),
        pytest.param(['"a,b"', '"say ""x"""', '"a\nb"'], pl.String, ["a,b", 'say "x"', "a\nb"], id="quotes"),
        pytest.param(["é", "日本"], pl.String, ["é", "日本"], id="other alphabets"),
    ],
)  # fmt: skip
def test_a_column_has_a_type_only_if_each_value_stays_what_it_was(tmp_path, texts, dtype, values):
    body = "".join(f"{at},{text}\n" for at, text in enumerate(texts))
    column = read(item(written(tmp_path, "n,v\n" + body))).sort("n")["v"]
    assert column.dtype == dtype
    assert column.to_list() == values


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("String", "1", "1"),
        ("Int32", "7", 7),
        ("UInt64", "18446744073709551615", 2**64 - 1),
        ("Float64", "1e5", 1e5),
        ("Float64", "-inf", float("-inf")),
        ("Float64", "0.12345678901234567890", 0.12345678901234567890),
        ("Float32", "1.5", 1.5),
        ("Decimal(12, 2)", "2.50", Decimal("2.50")),
        ("Decimal(38, 0)", "12345678901234567890123456789012345678", Decimal(12345678901234567890123456789012345678)),
        ("Boolean", "TRUE", True),
        ("Date", "2024-02-29", datetime.date(2024, 2, 29)),
        ("Datetime", "2024-02-29T12:34:56.123456", datetime.datetime(2024, 2, 29, 12, 34, 56, 123456)),
        ("Datetime('us', 'UTC')", "2024-02-29T12:34:56+02:00", datetime.datetime(2024, 2, 29, 10, 34, 56, tzinfo=UTC)),
        ("Time", "12:34:56.5", datetime.time(12, 34, 56, 500_000)),
    ],
)
@pytest.mark.parametrize("budget", [contents.BUDGET, 1])
def test_a_declared_type_is_read_exactly(tmp_path, monkeypatch, budget, declared, text, value):
    monkeypatch.setattr(contents, "BUDGET", budget)  # with a small one all values are read as texts
    frame = read(item(written(tmp_path, f"n,v\n1,{text}\n2,\n"), types={"v": declared}))
    assert frame["v"].to_list() == [value, None]


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("Int64", "001"), ("Int64", "1e3"), ("Int64", "+1"), ("Int64", "1.0"), ("Int64", "9223372036854775808"),
        ("Int8", "128"), ("UInt64", "-1"), ("Float64", "1,5"), ("Float64", "1e400"), ("Float64", "x"),
        ("Decimal(12, 2)", "2.505"), ("Decimal(12, 1)", "2.50"), ("Decimal(3, 0)", "1000"), ("Boolean", "1"),
        ("Date", "2024-02-30"), ("Date", "29.02.2024"), ("Datetime('ms')", "2024-02-29 12:34:56.1234"),
        ("Datetime", "2024-02-29 12:34:56.1234567"), ("Datetime", "2024-02-29T12:34:56Z"),
        ("Datetime('ns')", "1500-01-01 00:00:00"), ("Datetime('us', 'UTC')", "2024-02-29T12:34:56"),
        ("Time", "24:00:00"),
    ],
)  # fmt: skip
def test_a_value_that_would_become_another_one_is_named_with_its_line(tmp_path, declared, text):
    quoted = f'"{text}"' if "," in text else text
    message = refusal(item(written(tmp_path, f'n,v\n1,\n"two\nlines",\n3,{quoted}\n'), types={"v": declared}))
    assert f'input "t": {tmp_path}/0.csv: line 5, column "v": "{text}"' in message
    assert "inputs[].types" in message


def test_types_are_those_of_all_files(tmp_path):
    frame = read(item(written(tmp_path, "a\n" + "1\n" * 300, "a\n" + "1\n" * 300 + "2.5\n", "a\n3\n")))
    assert frame["a"].dtype == pl.Float64
    assert frame["a"].sum() == 605.5


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({"qtty": "Int64"}, '"qtty", which is not there; there is "qty"'),
        ({"qty": "Int46"}, "names no type"),
        ({"qty": "List(Int64)"}, "no type that texts are read as"),
        ({"qty": "Decimal"}, "says too little"),
        ({"qty": "Binary"}, "no type that texts are read as"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused(tmp_path, types, said):
    assert said in refusal(item(written(tmp_path, "id,qty\n1,2\n"), types=types))


def test_texts_that_mean_null_are_null_in_every_column(tmp_path):
    frame = read(item(written(tmp_path, "n,v\n1,NA\nNA,x\n-,\n"), csv={"nullValues": ["NA", "-"]}))
    assert frame.rows() == [(1, None), (None, "x"), (None, None)]


@pytest.mark.parametrize("separator", [";", "\t", "|", "^"])
def test_separators(tmp_path, separator):
    text = "a,b\n1,x\n2,y\n".replace(",", separator)
    assert read(item(written(tmp_path, text), csv={"separator": separator})).rows() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize("separator", ["é", '"', "\n"])
def test_a_separator_that_can_separate_nothing_is_refused(tmp_path, separator):
    assert "csv.separator" in refusal(item(written(tmp_path, "a,b\n1,2\n"), csv={"separator": separator}))


@pytest.mark.parametrize("null", ['""', 'x"y'])
def test_a_null_with_a_quote_would_mean_nothing_and_is_refused(tmp_path, null):
    message = refusal(item(written(tmp_path, 'a,b\n"x""y",2\n'), csv={"nullValues": ["NA", null]}))
    assert f"csv.nullValues has {null!r}" in message


@pytest.mark.parametrize("late", ["001", "2.5", "1e3", "+7", "99999999999999999999", "x", "1 "])
def test_a_value_beyond_the_sample_ends_the_query_and_is_named(tmp_path, tiny_sample, late):
    rows = [f"{at},{at % 7}\n" for at in range(20_000)]
    rows[11_111] = f"11111,{late}\n"
    one = item(written(tmp_path, "n,v\n" + "".join(rows)))
    found = passed_on(one)
    assert found.schema == {"n": pl.Int64, "v": pl.Int64}
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        found.frame(StoreAccess()).select(pl.col("v").sum()).collect()
    message = found.reading.located(one, found.files, StoreAccess(), caught.value)
    assert f'{tmp_path}/0.csv: line 11113, column "v": "{late}"' in message
    assert "inputs[].types" in message


def test_what_the_query_does_not_read_does_not_end_it(tmp_path, tiny_sample):
    rows = [f"{at},{at % 7}\n" for at in range(20_000)]
    rows[11_111] = "11111,x\n"
    found = passed_on(item(written(tmp_path, "n,v\n" + "".join(rows))))
    assert found.frame(StoreAccess()).select(pl.col("n").sum()).collect().item() == sum(range(20_000))


def test_errors_of_other_inputs_are_not_explained(tmp_path, tiny_sample):
    one = item(written(tmp_path, "n,v\n" + "1,2\n" * 20_000 + "1,x\n" + "1,2\n" * 20_000))
    found = passed_on(one)
    other = pl.exceptions.InvalidOperationError('conversion failed: ["⟪u¦v⟫x"]')
    assert found.reading.located(one, found.files, StoreAccess(), other) is None
    assert found.reading.located(one, found.files, StoreAccess(), ValueError("no")) is None


def _expected(text):
    return None if text == "" else text


FIELD = st.one_of(
    st.sampled_from(["", "1", "-7", "007", "1.5", "2.50", "1e5", "true", "2024-02-29", "NA", "x"]),
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=6),
)


@given(
    rows=st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=12),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    cut=st.booleans(),
)
def test_any_table_reads_as_python_and_duckdb_read_it(tmp_path_factory, rows, separator, quoting, end, cut):
    folder = tmp_path_factory.mktemp("csv")
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    text = out.getvalue()
    path = folder / "x.csv"
    path.write_bytes((text.removesuffix(end) if cut else text).encode())
    frame = read(item(path, csv={"separator": separator}))
    assert frame.height == len(rows)
    for at, name in enumerate("abc"):
        texts = [row[at] for row in rows]
        got = frame[name].to_list()
        if frame[name].dtype == pl.String:
            # A quoted empty text is empty; who does not quote means null.
            assert [value or None for value in got] == [text or None for text in texts]
        elif frame[name].dtype == pl.Float64:
            assert got == [float(text) if text else None for text in texts]
        else:
            as_text = ["true" if v is True else "false" if v is False else v if v is None else str(v) for v in got]
            assert as_text == [text or None for text in texts]
    theirs = duckdb.read_csv(
        str(path), all_varchar=True, header=True, sep=separator, quotechar='"', escapechar='"', auto_detect=False,
        columns={"a": "VARCHAR", "b": "VARCHAR", "c": "VARCHAR"},
    ).fetchall()  # fmt: skip
    assert [tuple(text or None for text in row) for row in rows] == [tuple(t or None for t in r) for r in theirs]


@pytest.mark.parametrize("long", ["x" * 3000, "x\n" * 1500], ids=["text", "lines"])
def test_a_file_whose_first_record_is_longer_than_its_sample_keeps_its_rows(tmp_path, tiny_sample, long):
    texts = [f'n,v\n{at},"{long}"\n' for at in range(20)]
    found = read(item(written(tmp_path, *texts)))
    assert found["v"].to_list() == [long] * 20
    assert sorted(found["n"].cast(pl.Int64)) == list(range(20))


@pytest.mark.parametrize("header", [True, False])
def test_a_first_line_that_is_longer_than_the_sample_is_read_on(tmp_path, tiny_sample, header):
    names = [f"a_rather_long_name_{at}" for at in range(100)]
    text = f"{','.join(names)}\n{','.join('1' * 100)}\n"
    found = read(item(written(tmp_path, *[text] * 20), csv={"header": header}))
    assert found.shape == (20 if header else 40, 100)


def test_a_quote_within_a_field_beyond_the_sample_is_named(tmp_path, tiny_sample):
    rows = [f"{at},p{at % 7}\n" for at in range(20_000)]
    rows[11_111], rows[11_115] = '11111,5" pipe\n', '11115,6" pipe\n'
    one = item(written(tmp_path, "n,v\n" + "".join(rows)))
    found = passed_on(one)
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        found.frame(StoreAccess()).collect()
    message = found.reading.located(one, found.files, StoreAccess(), caught.value)
    assert f"{tmp_path}/0.csv: line 11113" in message
    assert "within quotes" in message


@pytest.mark.parametrize("text", ["0000-01-01", "0000-12-31 10:00:00", "0000-01-01T00:00:00Z"])
def test_the_year_0_is_no_date(tmp_path, text):
    assert read(item(written(tmp_path, f"n,v\n1,{text}\n")))["v"].to_list() == [text]
    types = {"v": "Date" if len(text) == 10 else "Datetime('us', 'UTC')" if text[-1] == "Z" else "Datetime"}
    assert f'"{text}" would not stay what it is' in refusal(item(f"{tmp_path}/*.csv", types=types))


@pytest.mark.parametrize("year", ["0001", "0010", "0100", "0999", "1000", "1999", "9999"])
def test_any_other_year_is_one(tmp_path, year):
    found = read(item(written(tmp_path, f"d,v\n{year}-01-02,{year}-01-02 03:04:05\n")))
    assert found.row(0) == (datetime.date(int(year), 1, 2), datetime.datetime(int(year), 1, 2, 3, 4, 5))
