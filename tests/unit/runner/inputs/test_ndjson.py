"""NDJSON: keys, types and lines, against Python's json and DuckDB."""

import contextlib
import datetime
import gzip
import json
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from tests.support.read_inputs import passed_on, read, refusal

UTC = datetime.UTC


def item(uri, **changes):
    return Input.model_validate({"name": "t", "uri": f"file://{uri}", "format": "ndjson", **changes})


def written(tmp_path, *texts):
    for at, text in enumerate(texts):
        (tmp_path / f"{at}.ndjson").write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"{tmp_path}/*.ndjson"


@pytest.mark.parametrize(
    ("values", "dtype", "want"),
    [
        pytest.param(["1", "null", "-2"], pl.Int64, [1, None, -2], id="whole numbers"),
        pytest.param(["1", "2.5"], pl.Float64, [1.0, 2.5], id="whole numbers and fractions"),
        pytest.param(["1.10", "1e5"], pl.Float64, [1.1, 1e5], id="fractions"),
        pytest.param(["0.30000000000000004"], pl.Float64, [0.30000000000000004], id="seventeen digits"),
        pytest.param(["9223372036854775807"], pl.Int64, [2**63 - 1], id="the largest BIGINT"),
        pytest.param(["18446744073709551615", "1"], pl.UInt64, [2**64 - 1, 1], id="the largest UBIGINT"),
        pytest.param(["true", "false", "null"], pl.Boolean, [True, False, None], id="truths"),
        pytest.param(['"001"', '"x"'], pl.String, ["001", "x"], id="texts"),
        pytest.param(['"2024-02-29"'], pl.String, ["2024-02-29"], id="a date is text"),
        pytest.param(["null", "null"], pl.String, [None, None], id="nothing is text"),
        pytest.param(["{}", "null"], pl.String, ["{}", None], id="objects without keys are texts"),
        pytest.param(["[]", "[1]", "null", "[null]"], pl.List(pl.Int64), [[], [1], None, [None]], id="lists"),
        pytest.param(["[]", "[]"], pl.List(pl.String), [[], []], id="empty lists"),
        pytest.param(["[1]", "[2.5]"], pl.List(pl.Float64), [[1.0], [2.5]], id="lists of fractions"),
        pytest.param(
            ['{"x": 1}', '{"y": "z"}', "null"],
            pl.Struct({"x": pl.Int64, "y": pl.String}),
            [{"x": 1, "y": None}, {"x": None, "y": "z"}, None],
            id="objects whose keys come late",
        ),
        pytest.param(
            ['[{"x": []}]', '[{"y": {"z": 1}}, {"x": [true]}]'],
            pl.List(pl.Struct({"x": pl.List(pl.Boolean), "y": pl.Struct({"z": pl.Int64})})),
            [[{"x": [], "y": None}], [{"x": None, "y": {"z": 1}}, {"x": [True], "y": None}]],
            id="objects in lists",
        ),
        pytest.param([r'"\u00e9\n\ud83d\ude00\u0000"'], pl.String, ["é\n😀\0"], id="escapes"),
    ],
)  # fmt: skip
def test_a_key_has_the_type_that_all_its_values_have(tmp_path, values, dtype, want):
    text = "".join(f'{{"v": {value}}}\n' for value in values)
    frame = read(item(written(tmp_path, text)))
    assert frame["v"].dtype == dtype
    assert frame["v"].to_list() == want


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", '"x"'], '"v" is a whole number in line 3 of {0} and text in line 4 of {0}'),
        (["true", "1"], '"v" is true or false in line 3 of {0} and a whole number in line 4 of {0}'),
        (["1", "2.5", '"x"'], "a whole number in line 3 of {0} and text in line 5 of {0}"),
        (["1", "[1]"], "a whole number in line 3 of {0} and a list in line 4 of {0}"),
        (["[1]", '["x"]'], '"v[]" is a whole number in line 3 of {0} and text in line 4 of {0}'),
        (['{"x": 1}', '{"x": "y"}'], '"v.x" is a whole number in line 3 of {0} and text in line 4 of {0}'),
        (["9007199254740993", "0.5"], '"v" is a whole number beyond 2^53 in line 3 of {0} and a fraction in line 4'),
        (["18446744073709551615", "-1.5"], "a whole number beyond 2^63 in line 3 of {0} and a fraction in line 4"),
        (["18446744073709551616"], '"v" is a whole number beyond 64 bits in line 3 of {0}'),
        (["0.12345678901234567890"], '"v" is a number whose digits a DOUBLE does not hold in line 3 of {0}'),
    ],
)
def test_values_without_a_type_in_common_are_both_named(tmp_path, values, said):
    text = '\n{"v": null}\n' + "".join(f'{{"v": {value}}}\n' for value in values)
    message = refusal(item(written(tmp_path, text)))
    assert 'input "t": ' in message
    assert said.format(f"{tmp_path}/0.ndjson") in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": 1', "line 3 is no JSON"),
        (b'{"a": 1} {"a": 2}', "line 3 is no JSON"),
        (b'{"a": NaN}', "line 3 is no JSON"),
        (b"{'a': 1}", "line 3 is no JSON"),
        (b'[{"a": 1}]', "line 3 has an array and no object"),
        (b"5", "line 3 has a single value and no object"),
        (b'{"a": 1, "a": 2}', 'line 3 has the key "a" twice'),
        (b'{"a": 1, "o": {"x": 1, "x": 1}}', 'line 3 has the key "x" twice'),
        (b'{"a": "caf\xe9"}', "line 3 is not UTF-8 (byte 0xe9)"),
        (rb'{"a": "\ud83d"}', "line 3 is no JSON"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "line 3 has values that are nested"),
        (b'{"a": ' + b"[" * 9000 + b"]" * 9000 + b"}", "line 3 "),
    ],
)
def test_a_line_that_is_no_object_of_json_is_named(tmp_path, line, said):
    written(tmp_path, '{"a": 1}\n')
    (tmp_path / "odd.ndjson").write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 1}\n')
    message = refusal(item(f"{tmp_path}/*.ndjson"))
    assert f'input "t": {tmp_path}/odd.ndjson: ' in message
    assert said in message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'\xef\xbb\xbf{"a": 1}\n', "byte order mark"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        (b"BZh91AY&SY" + b"\0" * 20, "bz2"),
        (b"\n\n", "no"),
    ],
)
def test_files_that_are_no_ndjson_are_refused(tmp_path, data, said):
    assert said in refusal(item(written(tmp_path, data)))


def test_columns_are_in_the_order_in_which_keys_appear_in_all_files(tmp_path):
    frame = read(item(written(tmp_path, '{"b": 1}\n{"a": 2, "b": 3}\n', '{"c": 4}\r\n\n{}\n  \n', "")))
    assert frame.columns == ["b", "a", "c"]
    assert frame.rows() == [(1, None, None), (3, 2, None), (None, None, 4), (None, None, None)]


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz"])
def test_what_a_file_holds_counts_and_not_its_ending(tmp_path, ending):
    (tmp_path / f"0.{ending}").write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2, "b": "x"}'))
    (tmp_path / f"1.{ending}").write_bytes(b'{"a": 3}')
    frame = read(item(f"{tmp_path}/*.{ending}"))
    assert frame.rows() == [(1, None), (2, "x"), (3, None)]


@pytest.mark.parametrize(
    ("declared", "values", "want"),
    [
        ("Int32", ["7", '"8"', "null"], [7, 8, None]),
        ("Float64", ["18446744073709551616", "0.12345678901234567890", "1"], [2.0**64, 0.12345678901234568, 1.0]),
        ("Float32", ["1.5"], [1.5]),
        ("Decimal(12, 2)", ["1.10", '"2.50"', "3"], [Decimal("1.10"), Decimal("2.50"), Decimal("3.00")]),
        ("Date", ['"2024-02-29"'], [datetime.date(2024, 2, 29)]),
        ("Datetime('us', 'UTC')", ['"2024-02-29T12:00:00Z"'], [datetime.datetime(2024, 2, 29, 12, tzinfo=UTC)]),
        ("Boolean", ["true", '"false"'], [True, False]),
        ("String", ['"x"', "7", "true"], ["x", "7", "true"]),
        ("List(Float64)", ["[1]", "[2.5]"], [[1.0], [2.5]]),
        ("Struct({'x': Float64, 'y': String})", ['{"x": 1}'], [{"x": 1.0, "y": None}]),
    ],
)
def test_a_declared_type_is_read_exactly(tmp_path, declared, values, want):
    text = "".join(f'{{"v": {value}}}\n' for value in values)
    assert read(item(written(tmp_path, text), types={"v": declared}))["v"].to_list() == want


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        ("Int64", "1.5", 'line 2, column "v": "1.5"'),
        ("Int64", "1.0", 'line 2, column "v": "1.0"'),
        ("Int64", '"001"', 'line 2, column "v": "001"'),
        ("Int8", "300", 'line 2, column "v": "300"'),
        ("Int64", "18446744073709551615", 'line 2, column "v": "18446744073709551615"'),
        ("Decimal(12, 1)", "1.25", 'line 2, column "v": "1.25"'),
        ("Decimal(38, 20)", "0.12345678901234567890", 'line 2, column "v": "0.12345678901234567890"'),
        ("Date", '"29.02.2024"', 'line 2, column "v": "29.02.2024"'),
        ("Boolean", "1", 'line 2, column "v": "1"'),
        ("Float64", '"x"', 'line 2, column "v": "x"'),
        ("String", "1.10", '"v" is a fraction in line 2'),
        ("String", '{"x": 1}', '"v" is an object in line 2'),
        ("List(Int64)", "[1.5]", '"v[]" in line 2'),
        ("List(Int64)", "5", '"v" in line 2'),
        ("Struct({'x': Int64})", '{"y": 1}', '"v.y" in line 2'),
        ("List(Date)", "[]", "is not read from JSON"),
        ("Binary", '"x"', "is not read from JSON"),
    ],
)
def test_a_value_that_is_not_of_its_declared_type_is_named(tmp_path, declared, value, said):
    message = refusal(item(written(tmp_path, f'{{"v": null}}\n{{"v": {value}}}\n'), types={"v": declared}))
    assert said in message


def test_a_type_of_a_column_that_is_not_there_is_refused(tmp_path):
    message = refusal(item(written(tmp_path, '{"qty": 1}\n'), types={"qtty": "Int64"}))
    assert '"qtty", which is not there; there is "qty"' in message


def test_whole_numbers_beside_fractions_are_told_with_both_lines(tmp_path):
    found = passed_on(item(written(tmp_path, '{"k": 1}\n{"k": 2.5}\n')))
    assert found.warnings == (
        f'input "t": "k" has whole numbers (line 1 of {tmp_path}/0.ndjson) and fractions (line 2 of '
        f"{tmp_path}/0.ndjson): all are read as DOUBLE",
    )


def test_the_plain_case_is_one_plain_scan(tmp_path):
    assert passed_on(item(written(tmp_path, '{"a": 1}\n'))).frame(StoreAccess()).explain().startswith("NDJson SCAN")


def test_columns_of_a_large_input_are_those_of_the_sample_and_those_that_are_declared(tmp_path, tiny_sample):
    text = "".join(f'{{"a": {at}, "b": "x"}}\n' for at in range(5000))
    found = passed_on(item(written(tmp_path, text), types={"a": "Int32", "c": "Date"}))
    assert found.schema == {"a": pl.Int32, "b": pl.String, "c": pl.Date}
    assert not found.warnings
    assert found.frame(StoreAccess()).select(pl.col("a").sum()).collect().item() == sum(range(5000))


@pytest.mark.parametrize(
    ("declared", "late", "said"),
    [
        ("Int64", "1.5", 'line 2501, column "a": "1.5"'),
        ("Int64", '"x"', 'line 2501, column "a": "x"'),
        ("Int64", "1", "line 2502 is no JSON"),
        ("Int16", "99999", 'line 2501, column "a": "99999"'),
        ("Decimal(5, 1)", "1.25", 'line 2501, column "a": "1.25"'),
        ("Int64", '"12"', '"a" is text in line 2501'),
        ("Float64", "1e400", "line 2501 has the number 1e400"),
    ],
)
def test_a_value_beyond_the_sample_ends_the_query_and_is_named(tmp_path, tiny_sample, declared, late, said):
    lines = [f'{{"a": {at}, "b": "x"}}\n' for at in range(5000)]
    lines[2500] = f'{{"a": {late}}}\n'
    lines[2501] = "{\n" if late == "1" else lines[2501]
    one = item(written(tmp_path, "".join(lines)), types={"a": declared})
    found = passed_on(one)
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        found.frame(StoreAccess()).select(pl.col("a").sum()).collect()
    message = found.reading.located(one, found.files, StoreAccess(), caught.value)
    assert message is not None
    assert "/0.ndjson" in message
    assert said in message


LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=4),
)  # fmt: skip
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner))
ROW = st.dictionaries(st.sampled_from("abc"), VALUE, max_size=3)


def _same(ours, given):
    """Whether a value is the given one; keys that only other lines have are null in it."""
    if isinstance(given, dict):
        if not given and ours == "{}":
            return True
        return (
            isinstance(ours, dict) and all(_same(ours[key], given.get(key)) for key in ours) and set(given) <= set(ours)
        )
    if isinstance(given, list):
        return isinstance(ours, list) and len(ours) == len(given) and all(map(_same, ours, given))
    if isinstance(given, bool) or isinstance(ours, bool):
        return ours is given
    if isinstance(given, int) and isinstance(ours, float):
        return int(ours) == given
    return type(ours) is type(given) and ours == given


@given(rows=st.lists(ROW, min_size=1, max_size=6), spaces=st.booleans(), ascii_only=st.booleans())
def test_any_lines_read_as_python_reads_them_or_are_refused(tmp_path_factory, rows, spaces, ascii_only):
    folder = tmp_path_factory.mktemp("ndjson")
    path = folder / "x.ndjson"
    separators = (", ", ": ") if spaces else (",", ":")
    path.write_text("".join(json.dumps(row, separators=separators, ensure_ascii=ascii_only) + "\n" for row in rows))
    with contextlib.suppress(JobError):  # values without a type in common
        _compare(read(item(path)), rows)


def _compare(frame, rows):
    assert set(frame.columns) == {key for row in rows for key in row}
    got = frame.rows(named=True)
    assert len(got) == len(rows)
    for one, row in zip(got, rows, strict=True):
        assert all(_same(value, row.get(key)) for key, value in one.items()), (one, row)


FLAT = st.fixed_dictionaries(
    {"i": st.integers(-(2**63), 2**63 - 1), "s": st.text(st.characters(codec="ascii"), max_size=4)},
    optional={"l": st.lists(st.integers(-9, 9), max_size=3), "o": st.fixed_dictionaries({"x": st.booleans()})},
)


@given(rows=st.lists(FLAT, min_size=1, max_size=6))
def test_lines_of_one_kind_read_as_duckdb_reads_them(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("ndjson") / "x.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = read(item(path))
    kinds = {"i": "BIGINT", "s": "VARCHAR", "l": "BIGINT[]", "o": "STRUCT(x BOOLEAN)"}
    theirs = duckdb.read_json(str(path), format="newline_delimited", columns={k: kinds[k] for k in frame.columns})
    wanted = [tuple(None if isinstance(v, list) and not v and n == "l" and frame["l"].dtype == pl.List(pl.String)
                    else v for n, v in zip(frame.columns, row, strict=True)) for row in theirs.fetchall()]  # fmt: skip
    assert frame.height == len(wanted)
    for ours, row in zip(frame.rows(), wanted, strict=True):
        assert all(a == b or b is None for a, b in zip(ours, row, strict=True)), (ours, row)


def test_lines_that_are_longer_than_the_sample_are_read(tmp_path, tiny_sample):
    lines = [json.dumps({"n": at, "v": "x" * 3000}) + "\n" for at in range(20)]
    found = read(item(written(tmp_path, *lines), types={"n": "Int64", "v": "String"}))
    assert sorted(found.rows()) == [(at, "x" * 3000) for at in range(20)]


@pytest.mark.parametrize(
    ("declared", "usual", "late"),
    [
        ("List(Int64)", "[1]", "2.5"),
        ("List(Int64)", "[1]", '["x"]'),
        ("List(Int64)", "[1]", '{"x": 1}'),
        ("Struct({'x': Int64})", '{"x": 1}', "[1]"),
        ("Struct({'x': Int64})", '{"x": 1}', '{"x": 1.5}'),
    ],
)
def test_a_list_or_an_object_beyond_the_sample_that_does_not_fit_is_named(tmp_path, tiny_sample, declared, usual, late):
    lines = [f'{{"a": {usual}}}\n'] * 5000
    lines[2222] = f'{{"a": {late}}}\n'
    one = item(written(tmp_path, "".join(lines)), types={"a": declared})
    found = passed_on(one)
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        found.frame(StoreAccess()).collect()
    message = found.reading.located(one, found.files, StoreAccess(), caught.value)
    assert message is not None
    assert f"line 2223 of {tmp_path}/0.ndjson" in message


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1.8e308", str(2**128), str(-(2**127) - 1), "1" + "0" * 400])
@pytest.mark.parametrize("declared", [{}, {"a": "Float64"}])
def test_a_number_that_no_reader_holds_is_refused_with_its_line(tmp_path, number, declared):
    uri = written(tmp_path, f'{{"a": 1}}\n{{"a": {number}, "b": 1}}\n')
    assert f"line 2 has the number {number[:80]}" in refusal(item(uri, types=declared))


@pytest.mark.parametrize("number", ["1.7e308", str(2**128 - 1), str(-(2**127)), "1e-400"])
def test_a_number_that_a_double_is_near_to_is_read_where_that_is_declared(tmp_path, number):
    uri = written(tmp_path, f'{{"a": 1}}\n{{"a": {number}}}\n')
    assert read(item(uri, types={"a": "Float64"}))["a"].to_list() == [1.0, float(number)]


@pytest.mark.parametrize(
    ("late", "declared"), [('"x"', ["1", "x"]), ("true", ["1", "true"]), ("[1]", None)], ids=["text", "boolean", "list"]
)
def test_kinds_that_a_text_can_hold_name_it_as_the_way_out(tmp_path, late, declared):
    uri = written(tmp_path, f'{{"a": 1}}\n{{"a": {late}}}\n')
    assert ('or String for "a" in inputs[].types' in refusal(item(uri))) == (declared is not None)
    if declared:
        assert read(item(uri, types={"a": "String"}))["a"].to_list() == declared
