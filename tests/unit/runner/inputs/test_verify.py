"""Large text inputs: each line is looked at beside the query, and a bad one keeps it from committing."""

import csv
import gzip
import io
import json
import os
import signal
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import verify
from gpuquery.runner.inputs.formats import streams
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.csv import structure
from gpuquery.runner.inputs.formats.csv.records import Dialect
from gpuquery.runner.inputs.formats.ndjson import every
from gpuquery.runner.inputs.formats.ndjson.rules import rules
from tests.support.runner import plan, result, run

ACCESS = StoreAccess()
ROWS = 3000
BAD = 1650
"""The row that is another one; the sample shows neither it nor its neighbours."""


def csv_lines(late=None):
    lines = [f"{at},x{at % 7}\n" for at in range(ROWS)]
    if late is not None:
        lines[BAD] = late
    return "n,v\n" + "".join(lines)


def ndjson_lines(late=None):
    lines = [f'{{"n": {at}, "v": "x{at % 7}"}}\n' for at in range(ROWS)]
    if late is not None:
        lines[BAD] = late
    return "".join(lines)


def resolved(folder, name, text, **changes):
    """The input, of which only a sample was looked at."""
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    kind = "csv" if ".csv" in name else "ndjson"
    item = {"name": "t", "uri": f"file://{folder}/{name}", "format": kind, **changes}
    found = inputs.resolve([Input.model_validate(item)], ACCESS)["t"]
    assert found.reading.sampled
    return found


def refusal(found):
    with pytest.raises(JobError) as caught:
        found.reading.verify(found.item, found.files, ACCESS, 0)
    assert caught.value.failure is Failure.INVALID_INPUT
    return caught.value.message


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ("1650\n", "line 1652 has 1 field, and there are 2 columns: '1650'"),
        ("1650,x,y\n", "line 1652 has 3 fields, and there are 2 columns"),
        ("\n", "line 1652 has nothing in it, and the sample showed no such line"),
        ('1650,5" pipe\n', "line 1652, which the sample did not show, has a quote within a field"),
        ('1650,"x\n', "has a quoted field that"),
        ('1650,"x" \n', "line 1652 has a quoted field that goes on after its closing quote"),
        ("1650,x\ry\n", "line 1652 has a carriage return without a line feed"),
        ("1650,x\0\n", "line 1652 has a NUL byte"),
        (b"1650,caf\xe9\n", "line 1652 is not UTF-8 (byte 0xe9)"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_line_of_csv_beyond_the_sample_that_is_read_as_another_one_is_named(tmp_path, tiny_sample, name, late, said):
    before, after = csv_lines("|").split("|")
    data = before.encode() + (late if isinstance(late, bytes) else late.encode()) + after.encode()
    message = refusal(resolved(tmp_path, name, data))
    assert f'input "t": {tmp_path}/{name}: ' in message
    assert said in message


@pytest.mark.parametrize(
    ("head", "late", "said"),
    [
        ("n,v\n0,x\n\n", ",\n", "has only empty fields, and other lines have nothing in them"),
        ("n,v\n0,x\n\n", "NA,\n", "has only empty fields, and other lines have nothing in them"),
        ('n,v\n0,5" pipe\n1,6" pipe\n', '1,"x"\n', "has a quoted field, and other lines have quotes within fields"),
        ("\n" * 1000 + "n,v\n", "1,x\n", "begins with so many lines without anything"),
    ],
)
def test_a_line_beyond_the_sample_that_does_not_go_with_others_is_named(tmp_path, tiny_sample, head, late, said):
    body = "".join(f"{at},x{at % 7}\n" for at in range(ROWS))
    (tmp_path / "0.csv").write_text("n,v\n" + body)
    (tmp_path / "1.csv").write_text(head + body + late + body)
    item = Input.model_validate({"name": "t", "uri": f"file://{tmp_path}/*.csv", "csv": {"nullValues": ["NA"]}})
    found = inputs.resolve([item.model_copy(update={"format": "csv"})], ACCESS)["t"]
    found.reading.verify(item, found.files, ACCESS, 0)
    with pytest.raises(JobError, match=said):
        found.reading.verify(item, found.files, ACCESS, 1)


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ('{"n": 1, "w": 2}', 'line 1651 has the key "w", which the sample did not show'),
        ('{"n": 1, "n": 2}', 'line 1651 has the key "n" twice'),
        ('{"n": 1.5}', 'line 1651 has a fraction for "n", and the sample shows "n" as Int64'),
        ('{"n": 1.0}', 'line 1651 has a fraction for "n"'),
        ('{"n": "1"}', 'line 1651 has text for "n"'),
        ('{"v": 7}', 'line 1651 has a whole number for "v", and the sample shows "v" as String'),
        ('{"v": {}}', 'line 1651 has an object for "v"'),
        ('{"n": 18446744073709551616}', 'line 1651 has a whole number beyond 64 bits for "n"'),
        ('{"n": 1e400}', "line 1651 has the number 1e400"),
        ('{"n": 1', "line 1651 is no JSON"),
        ('{"n": 01}', "line 1651 is no JSON"),
        ('{"n": 1} 2', "line 1651 is no JSON"),
        ('{"v": "\\ud83d"}', "line 1651 is no JSON"),
        ('[{"n": 1}]', "line 1651 has an array and no object"),
        (b'{"v": "caf\xe9"}', "line 1651 is not UTF-8 (byte 0xe9)"),
    ],
)
def test_a_line_of_ndjson_beyond_the_sample_that_is_read_as_another_one_is_named(tmp_path, tiny_sample, late, said):
    before, after = ndjson_lines("|").split("|")
    data = before.encode() + (late if isinstance(late, bytes) else late.encode()) + b"\n" + after.encode()
    message = refusal(resolved(tmp_path, "x.ndjson", data))
    assert f'input "t": {tmp_path}/x.ndjson: ' in message
    assert said in message


@pytest.mark.parametrize(
    ("declared", "usual", "late", "said"),
    [
        ("String", '"x"', "1.50", 'a fraction for "v", and "v" is declared as String'),
        ("String", '"x"', "[1]", 'a list for "v"'),
        ("Decimal(12, 2)", "1.25", "0.12345678901234567890", 'a number whose digits a DOUBLE does not hold for "v"'),
        ("Int64", "1", '"12"', 'text for "v", and "v" is declared as Int64'),
        ("List(Int64)", "[1]", '["x"]', 'text for "v[]"'),
        ("List(Int64)", "[1]", "[1.5]", 'a fraction for "v[]"'),
        ("Struct({'x': Int64})", '{"x": 1}', '{"y": 1}', 'the key "v.y", and "v" is declared as Struct'),
        ("Struct({'x': Int64})", '{"x": 1}', '{"x": 1, "x": 2}', 'the key "x" twice'),
        (None, "0.5", "0.12345678901234567890", 'a number whose digits a DOUBLE does not hold for "v"'),
        (None, "0.5", "9007199254740993", 'a whole number beyond 2^53 for "v"'),
        (None, '{"x": [1]}', '{"x": [1, "y"]}', 'text for "v.x[]", and the sample shows "v" as Struct'),
        (None, "null", "5", 'a whole number for "v", and the sample shows "v" as String'),
    ],
)
def test_a_value_beyond_the_sample_that_its_column_does_not_hold_is_named(
    tmp_path, tiny_sample, declared, usual, late, said
):
    lines = [f'{{"v": {usual}}}\n'] * ROWS
    lines[BAD] = f'{{"v": {late}}}\n'
    found = resolved(tmp_path, "x.ndjson", "".join(lines), types={"v": declared} if declared else {})
    assert f"line 1651 has {said}" in refusal(found)


@pytest.mark.parametrize(
    ("declared", "usual", "late"),
    [
        ("String", '"x"', "7"),
        ("String", '"x"', "true"),
        ("Decimal(12, 2)", "1.25", '"2.50"'),
        ("Date", '"2024-02-29"', "null"),
        ("Float64", "1", "0.12345678901234567890"),
        ("Float64", "1", "1e-300"),
        (None, "0.5", "0.30000000000000004"),
        (None, "1", "9223372036854775807"),
        (None, "null", '"x"'),
        (None, '{"x": [1]}', '{"x": [null, 2]}'),
        (None, '"x"', r'"\u00e9\n\ud83d\ude00"'),
        (None, '"x"', '"é 😀 ~ 12345678901234567890"'),
    ],
)
def test_a_value_beyond_the_sample_that_its_column_holds_is_right(tmp_path, tiny_sample, declared, usual, late):
    lines = [f'{{"v": {usual}}}\n'] * ROWS
    lines[BAD] = f'  {{"v" : {late} }}\r\n\n'
    found = resolved(tmp_path, "x.ndjson", "".join(lines), types={"v": declared} if declared else {})
    found.reading.verify(found.item, found.files, ACCESS, 0)


@pytest.mark.parametrize(("value", "path"), [("{}", "v"), ("[{}]", "v[]"), ('{"w": {}}', "v.w")])
def test_objects_that_have_no_key_in_the_sample_are_refused_before_the_query(tmp_path, tiny_sample, value, path):
    text = f'{{"v": {value}}}\n' * ROWS
    with pytest.raises(JobError, match="declare the type") as caught:
        resolved(tmp_path, "x.ndjson", text)
    assert f'"{path}" is an object without a key in line 1 of {tmp_path}/x.ndjson' in caught.value.message
    declared = {
        "v": "Struct({'x': Int64})",
        "v[]": "List(Struct({'x': Int64}))",
        "v.w": "Struct({'w': Struct({'x': Int64})})",
    }
    found = resolved(tmp_path, "x.ndjson", text, types={"v": declared[path]})
    found.reading.verify(found.item, found.files, ACCESS, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", csv_lines()),
        ("x.csv", csv_lines().partition("\n")[2]),
        ("x.csv", csv_lines().replace("\n", "\r\n").removesuffix("\r\n")),
        ("x.csv", csv_lines('1650,"a ""b"", \n\nc"\n')),
        ("x.csv", "\ufeff" + csv_lines('1650,"é"\n')),
        ("x.csv", "n,v\n\n" + csv_lines("\n").removeprefix("n,v\n")),
        ("x.csv.gz", csv_lines()),
        ("x.ndjson", ndjson_lines()),
        ("x.ndjson.gz", ndjson_lines()),
    ],
)
def test_good_files_pass_however_they_are_cut(tmp_path, tiny_sample, monkeypatch, name, text):
    monkeypatch.setattr(streams, "STEP", 700)
    changes = {} if "n" in text[:5] else {"csv": {"header": False}}
    found = resolved(tmp_path, name, text, **changes)
    found.reading.verify(found.item, found.files, ACCESS, 0)


def test_a_record_without_an_end_takes_no_memory_without_bound(tmp_path, tiny_sample, monkeypatch):
    monkeypatch.setattr(streams, "STEP", 700)
    monkeypatch.setattr(streams, "LONGEST", 2000)
    message = refusal(resolved(tmp_path, "x.csv", csv_lines('1650,"x\n')))
    assert "line 1652 has no end within 0 MiB: a quoted field may have no end" in message


def test_tables_with_very_many_columns_are_looked_at(tmp_path):
    form = structure.Form(structure.WIDE + 10, Dialect(","))
    line = ",".join(f'"{at}, "' for at in range(form.columns)) + "\n"
    structure.check((line * 3).encode(), 1, form)
    with pytest.raises(RefusedError, match="line 2 has 509 fields"):
        structure.check((line + line.partition(",")[2].partition(",")[2] + line).encode(), 1, form)


def test_lines_that_are_like_good_ones_are_looked_at_by_pattern_alone():
    schema = {"a": pl.Int64(), "b": pl.List(pl.Float64()), "c": pl.Struct({"d": pl.String()})}
    known = every.Lines(rules(schema, schema, frozenset()), frozenset())
    lines = [{"a": at, "b": [at / 4] * (at % 3), "c": {"d": f"text {at}"}} for at in range(1000)]
    known.look("".join(json.dumps(line) + "\n" for line in lines).encode(), 1)
    assert known.closely <= 3


PIECES = st.sampled_from(
    ["x", "1", ",", ",", "\n", "\n", "\r\n", '"', '""', '"a,b"', '"a\nb"', '"c""d"', "\r", "\0", "é", " ", "NA"]
)


@pytest.mark.parametrize("blanks", [False, True])
@pytest.mark.parametrize("quotes", [False, True])
@given(parts=st.lists(PIECES, max_size=25))
@example(parts=["x", ",", "1", "\n", "\n", "x", ",", '"c""d"', "\n"])
@example(parts=["x", ",", "x", '"', "\n"])
def test_what_passes_is_read_by_polars_as_python_reads_it(blanks, quotes, parts):
    text = "h,i\n" + "".join(parts).removesuffix("\n") + "\n"
    form = structure.Form(2, Dialect(",", ("NA",)), blanks, quotes)
    try:
        structure.check(text.encode(), 1, form)
    except RefusedError:
        return
    dialect = {} if quotes else {"quoting": csv.QUOTE_NONE}
    wanted = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True, **dialect) if row or not blanks]
    got = pl.scan_csv(
        io.BytesIO(text.encode()), has_header=False, schema={"a": pl.String, "b": pl.String}, null_values=["NA"],
        quote_char='"' if quotes else None,
    )  # fmt: skip
    rows = (got.filter(~pl.all_horizontal(pl.all().is_null())) if blanks else got).collect().rows()
    assert [[None if v in ("NA", "") else v for v in row] for row in wanted] == [
        [v or None for v in row] for row in rows
    ]


FIELD = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=4)


@given(
    rows=st.lists(st.lists(FIELD, min_size=2, max_size=2), min_size=1, max_size=6),
    separator=st.sampled_from(",;\t|^ "),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_python_and_duckdb_read_alike_passes(tmp_path_factory, rows, separator, quoting, end):
    if any("\n" in text for row in rows for text in row):
        end = "\n"  # DuckDB takes the first line end, also one within quotes, for that of all lines
    out = io.StringIO()
    csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(out.getvalue().encode())
    theirs = duckdb.read_csv(
        str(path), all_varchar=True, header=False, sep=separator, quotechar='"', escapechar='"', auto_detect=False,
        columns={"a": "VARCHAR", "b": "VARCHAR"},
    ).fetchall()  # fmt: skip
    assert [tuple(text or None for text in row) for row in rows] == [tuple(t or None for t in r) for r in theirs]
    structure.check(path.read_bytes(), 1, structure.Form(2, Dialect(separator)))


SCHEMA = {
    "i": pl.Int64(), "u": pl.UInt64(), "f": pl.Float64(), "s": pl.String(), "b": pl.Boolean(),
    "l": pl.List(pl.Float64()), "o": pl.Struct({"x": pl.Int64(), "y": pl.String()}),
}  # fmt: skip
TEXTS = [
    '"x"', '""', '"7"', '"é"', r'"\u00e9"', r'"\ud83d\ude00"', r'"\ud83d"', r'"\""', '"\t"', "7", "true", "1.5", "{}",
    '"{\\"i\\":1}"',
]  # fmt: skip
VALUES = {
    "i": ["1", "-7", "0", "9223372036854775807", "9223372036854775808", "1.0", "-0", "1e2"],
    "u": ["18446744073709551615", "0", "-1", "18446744073709551616"],
    "f": ["0.5", "7", "0.30000000000000004", "0.12345678901234567890", "9007199254740993", "1e-7", "1e400", ".5", "1."],
    "s": TEXTS,
    "b": ["true", "false", "1", "TRUE"],
    "l": ["[]", "[1, 2.5]", "[null]", '["x"]', "[[1]]", "[0.12345678901234567890]", "[1,]"],
    "o": ["{}", '{"x": 1}', '{"y": "z", "x": null}', '{"z": 1}', '{"x": 1, "x": 2}', '{"x": 1.5}', "[]"],
}
PAIR = st.sampled_from([(key, value) for key, values in VALUES.items() for value in [*values, "null"]])
LINE = st.one_of(
    st.lists(PAIR, max_size=4).map(lambda pairs: "{" + ", ".join(f'"{k}": {v}' for k, v in pairs) + "}"),
    st.sampled_from(
        ["", " ", "{}{}", '{"i":1,}', '{,"i":1}', '{"i":1 "s":"x"}', '{"q": 1}', "null", "[]", '{"i": NaN}']
    ),
)


def _same(ours, given):
    if isinstance(given, dict):
        return (
            isinstance(ours, dict) and set(given) <= set(ours) and all(_same(v, given.get(k)) for k, v in ours.items())
        )
    if isinstance(given, list):
        return isinstance(ours, list) and len(ours) == len(given) and all(map(_same, ours, given))
    if isinstance(given, Decimal) or (isinstance(ours, float) and isinstance(given, int)):
        return isinstance(ours, float) and Decimal(repr(ours)) == given
    return type(ours) is type(given) and ours == given


def _once(pairs):
    assert len(dict(pairs)) == len(pairs), "a key stands twice"
    return dict(pairs)


@pytest.mark.parametrize("declared", [frozenset(), frozenset("fs")], ids=["inferred", "declared"])
@given(lines=st.lists(LINE, min_size=1, max_size=8))
def test_lines_that_pass_are_read_by_polars_as_python_reads_them(declared, lines):
    known = every.Lines(rules(SCHEMA, SCHEMA, declared), declared)
    good = []
    for line in lines:  # what one line teaches, the next ones are judged by
        try:
            known.look(f"{line}\n".encode(), 1)
        except RefusedError:
            continue
        good.append(line)
    given = [json.loads(one, parse_float=Decimal, object_pairs_hook=_once) for one in good if one.strip()]
    try:
        got = pl.read_ndjson(io.BytesIO("".join(f"{one}\n" for one in good).encode()), schema=SCHEMA).to_dicts()
    except pl.exceptions.PolarsError:
        assert any(isinstance(one.get("u"), int) and one["u"] < 0 for one in given), "only this one is left to Polars"
        return
    assert len(got) == len(given)
    for ours, one in zip(got, given, strict=True):
        assert set(one) <= set(ours)
        for key, value in ours.items():
            if key == "f" and declared and isinstance(value, float):
                assert value == float(one[key])
            elif key == "s" and declared and not isinstance(one.get(key), str | None):
                assert value == json.dumps(one[key])
            else:
                assert _same(value, one.get(key)), (ours, one)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", csv_lines("1650\n"), "x.csv: line 1652 has 1 field, and there are 2 columns"),
        ("x.ndjson", ndjson_lines('{"n": 1650, "w": 1}\n'), 'x.ndjson: line 1651 has the key "w"'),
    ],
)
def test_a_bad_line_beyond_the_sample_keeps_a_query_from_committing(tmp_path, tiny_sample, name, text, said):
    (tmp_path / name).write_text(text)
    report = run(plan(tmp_path, "select count(n) as n from t", inputs={"t": f"file://{tmp_path}/{name}"}))
    assert report.failure is Failure.INVALID_INPUT
    assert said in report.message
    assert not (tmp_path / "out" / "data").exists()


@pytest.mark.parametrize(("name", "text"), [("x.csv", csv_lines()), ("x.ndjson", ndjson_lines())])
def test_good_lines_beyond_the_sample_are_committed_without_a_warning(tmp_path, tiny_sample, name, text):
    (tmp_path / name).write_text(text)
    report = run(plan(tmp_path, "select count(n) as n, sum(n) as s from t", inputs={"t": f"file://{tmp_path}/{name}"}))
    assert report.committed, report.message
    assert not report.warnings
    assert result(tmp_path).rows() == [(ROWS, sum(range(ROWS)))]


def test_a_file_that_was_replaced_meanwhile_is_told_as_such(tmp_path, tiny_sample):
    found = resolved(tmp_path, "x.csv", csv_lines())
    (tmp_path / "x.csv").write_text(csv_lines("1650\n"))
    with verify.Verification.of({"t": found}, ACCESS, 0, 1) as verification, pytest.raises(JobError) as caught:
        verification.result()
    assert caught.value.failure is Failure.INPUT_CHANGED


def test_a_process_that_dies_passes_nothing(tmp_path, tiny_sample):
    found = resolved(tmp_path, "x.csv", csv_lines())
    with verify.Verification.of({"t": found}, ACCESS, 0, 1) as verification:
        for one in verification.processes:
            os.kill(one.pid, signal.SIGKILL)
        with pytest.raises(JobError, match="ended without a word"):
            verification.result()


def test_all_files_are_looked_at_once_by_all_ranks_and_the_largest_ones_are_spread():
    weights = {verify.Place("t", at): 10 ** (at % 4) for at in range(13)}
    shares = [verify.shares(weights, weights, 3)[rank] for rank in range(3)]
    assert sorted(place for share in shares for place in share) == sorted(weights)
    assert [sum(weights[place] == 1000 for place in share) for share in shares] == [1, 1, 1]
    assert verify.shares([], {}, 2) == [[], []]


def test_inputs_that_were_looked_at_whole_are_not_looked_at_again(tmp_path):
    (tmp_path / "x.csv").write_text(csv_lines())
    item = Input.model_validate({"name": "t", "uri": f"file://{tmp_path}/x.csv", "format": "csv"})
    with verify.Verification.of(inputs.resolve([item], ACCESS), ACCESS, 0, 1) as verification:
        assert not verification.processes
