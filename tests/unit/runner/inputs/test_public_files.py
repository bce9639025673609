"""The like of each file of apache/parquet-testing and apache/arrow-testing: its rows, or a refusal that names it.

No public file is read here. `PUBLIC` says which kind of ours stands for which of them, or which other test does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import deltalake
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.runner.inputs.explain import lookup
from tests.support.broken_inputs import here
from tests.support.odd_broken import BROKEN
from tests.support.odd_files import EXACT
from tests.support.read_inputs import item, read, refusal
from tests.support.runner import plan, result, run

if TYPE_CHECKING:
    from pathlib import Path

TYPES = "test_parquet_types.py"
PUBLIC: dict[str, str] = {
    # parquet-testing/data
    "alltypes_{dictionary,plain,plain.snappy}": "a dictionary of format 1",
    "alltypes_tiny_pages": "tiny pages with an index",
    "alltypes_tiny_pages_plain": "tiny pages without dictionary",
    "alp_extended.zstd": "the encoding ALP",
    "backward_compat_nested": "a repeated group without LIST",
    "binary": "bytes that are texts without saying so",
    "binary_truncated_min_max": "bounds that are cut",
    "bloom_filter{,.xxhash}.bin": "out: no parquet files",
    "bson": "BSON",
    "byte_array_decimal": "decimals as bytes",
    "byte_stream_split{,_extended}": "BYTE_STREAM_SPLIT",
    "column_chunk_key_value_metadata": "metadata of a column chunk",
    "complex_map_key": "lists, maps and structs within each other",
    "concatenated_gzip_members": "members of gzip",
    "data_index_bloom{,_encoding_stats,_encoding_with_length}": "bloom filters",
    "datapage_v1-{snappy-compressed,uncompressed}-checksum": "right checksums",
    "datapage_v1-corrupt-checksum": "a torn page with its checksum",
    "datapage_v2.snappy": "pages of version 2",
    "datapage_v2_empty_datapage.snappy": "a page of version 2 without data, said to be compressed",
    "delta_binary_packed": "DELTA_BINARY_PACKED",
    "delta_byte_array": "DELTA_BYTE_ARRAY",
    "delta_encoding_{optional,required}_column": "DELTA_BINARY_PACKED",
    "delta_length_byte_array": "DELTA_LENGTH_BYTE_ARRAY",
    "dict-page-offset-zero": "a dictionary at 0",
    "duration": "durations",
    "{aes256/,}*.parquet.encrypted": f"{TYPES}: test_an_encrypted_footer_is_told_from_a_broken_file",
    "fixed_length_byte_array": "UUID",
    "fixed_length_decimal": "decimals of fixed length",
    "fixed_length_decimal_legacy": "decimals of fixed length, longer than need be",
    "flba12_timestamp": "timestamps of twelve bytes",
    "float16_{nonzeros,zeros}_and_nans": f"{TYPES}: half floats",
    "floating_orders_nan_count": "orders of columns without a name",
    "fsst{,.zstd}": "an encoding of the future",
    "geospatial/*": f"{TYPES}: test_a_logical_type_that_is_not_known_is_named_with_its_column",
    "hadoop_lz4_compressed": "LZ4 as Hadoop frames it",
    "hadoop_lz4_compressed_{block_split,larger}": "LZ4 of Hadoop in blocks",
    "incorrect_map_schema": "a map with keys that may be null",
    "int32_decimal": "decimals as INT32",
    "int32_with_null_pages": "pages of nulls alone",
    "int64_decimal": "decimals as INT64",
    "int96_from_spark": f"{TYPES}: test_int96_beyond_nanoseconds_fails_the_query_that_names_it",
    "int96_timestamp_order": f"{TYPES}: test_int96_within_nanoseconds_is_exact",
    "json": f"{TYPES}: JSON",
    "large_string_map.brotli": "brotli (2 GiB of texts: out, too large for a test)",
    "lineorder, nyc-taxi/*, sc_1kw_multibit_{1,3,8}": "out: plain columns, for benchmarks",
    "list_columns": "lists, maps and structs within each other",
    "lz4_raw_compressed{,_larger}": "LZ4_RAW",
    "map_no_value": "a map without values",
    "nan_in_stats": "NaN as a bound",
    "nation.dict-malformed": "a dictionary that ends too early",
    "nested_{lists.snappy,maps.snappy,structs.rust}": "lists, maps and structs within each other",
    "no_path_in_schema.zstd": "a chunk that does not name its path",
    "non_hadoop_lz4_compressed": "LZ4 without Hadoop's frame",
    "non_list_repeated_field": "a repeated field without LIST",
    "{nonnullable,nullable}.impala": "lists, maps and structs within each other",
    "null_list": "an empty list",
    "nulls.snappy": "a struct of nulls",
    "old_list_structure": "lists of lists of two levels",
    "overflow_i16_page_cnt": "more pages than 16 bits count",
    "page_v2_empty_compressed": "a page of version 2 that is null, compressed",
    "{plain,rle}-dict-{snappy,uncompressed}-checksum": "right checksums",
    "{plain,rle}-dict-uncompressed-corrupt-checksum": "a torn page with its checksum",
    "repeated_no_annotation": "a repeated group without LIST",
    "repeated_primitive_no_list": "a repeated field without LIST",
    "rle_boolean_encoding": "booleans as RLE",
    "single_nan": "NaN alone",
    "sort_columns": "sorting columns",
    "unknown-logical-type": f"{TYPES}: test_a_logical_type_that_is_not_known_is_named_with_its_column",
    # parquet-testing/bad_data, shredded_variant, variant
    "PARQUET-1481": "a physical type that there is not",
    "ARROW-RS-GH-6229-DICTHEADER": "a dictionary of fewer than no values",
    "ARROW-RS-GH-6229-LEVELS": "too few repetition levels",
    "ARROW-RS-GH-11261-FLBA-DICT": "a dictionary of texts in a column of fixed length",
    "ARROW-GH-41317": "columns of several sizes",
    "ARROW-GH-41321": "fewer definition levels than values",
    "ARROW-GH-41764": f"{TYPES}: test_a_logical_type_that_is_not_known_is_named_with_its_column",
    "ARROW-GH-43605": "an index of the width 0",
    "ARROW-GH-45185": "repetition levels that begin within a row",
    "ARROW-GH-47662": "nulls in a column that has none",
    "{bad_data/variants,shredded_variant,variant}/*": (
        f"{TYPES}: test_a_logical_type_that_is_not_known_is_named_with_its_column"
    ),
    # arrow-testing/data
    "alltypes-java": "a dictionary of format 1",
    "parquet/emptylist-regression, parquet/generated_simple_numerics": "an empty list",
    "parquet/{fuzzing,encoding-fuzzing}/*": "test_explain_mutated.py",
    "csv/aggregate_test_100*, csv/tips.csv.gz, csv/recursive_query_*": "test_csv_files.py, test_csv_values.py",
    "csv/fuzzing/*": "test_csv_values.py",
    "arrow-ipc*, avro, flight, forward-compatibility, substrait": "out: other formats",
}
REFUSED: dict[str, tuple[str, ...]] = {
    "a repeated field without LIST": ('"i"', "is repeated and no LIST"),
    "a repeated group without LIST": ('"numbers"', '"phone"', "is repeated and no LIST"),
    "lists of lists of two levels": ('"a"', "is a LIST of an old form"),
    "lists of lists of two levels, named element": ('"a"', "is a LIST of an old form"),
    "a map without values": ('"m"', "is a MAP without values"),
    "BYTE_STREAM_SPLIT": ("ByteStreamSplit",),
    "a dictionary at 0": (),
    "LZ4 in its own frame": (),
    "timestamps of twelve bytes": ("Timestamp",),
}
"""Files in order that Polars (1.44) reads wrongly or not at all, with words of the refusal."""


def comparable(value: Any) -> Any:
    """NaN equals NaN here, and -0.0 is not 0.0; an entry of a map is a struct."""
    match value:
        case float():
            return "NaN" if math.isnan(value) else repr(value)
        case tuple():
            return {"key": comparable(value[0]), "value": comparable(value[1])}
        case list():
            return [comparable(one) for one in value]
        case dict():
            return {name: comparable(one) for name, one in value.items()}
    return value


@pytest.mark.parametrize("kind", [kind for kind in EXACT if kind not in REFUSED])
def test_rows_are_those_that_were_put_in(tmp_path: Path, kind: str) -> None:
    EXACT[kind].write(tmp_path / "x.parquet")
    found = read(item(tmp_path / "x.parquet", hivePartitioned=False)).to_dicts()
    assert comparable(found) == comparable(EXACT[kind].rows)


@pytest.fixture(autouse=True)
def looked_up_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked up in this process: that a process of its own survives a crash has its own tests."""
    monkeypatch.setattr(lookup, "_run", here)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_is_refused_with_the_file(tmp_path: Path, kind: str) -> None:
    EXACT[kind].write(tmp_path / "x.parquet")
    message = refused(tmp_path)
    for word in (f"{tmp_path}/x.parquet", *REFUSED[kind]):
        assert word in message, message


def test_a_delta_table_of_such_a_file_is_refused_with_the_column(tmp_path: Path) -> None:
    EXACT["lists of lists of two levels"].write(tmp_path / "x.parquet")
    deltalake.convert_to_deltalake(str(tmp_path))
    one = Input.model_validate({"name": "t", "uri": f"file://{tmp_path}", "delta": {}})
    assert 'column "a" is a LIST of an old form' in refusal(one)


READ = {
    "an index of the width 0": [{"a": 7}, {"a": 7}],
    "INT_8 beyond eight bits": [{"a": 1}, {"a": 44}],  # as pyarrow and DuckDB have it
    "a torn page with its checksum": [
        {"a": 9},
        {"a": 2},
        {"a": 3},
    ],  # so do both, which do not look at checksums either
}
"""What looks odd and is in order, or what nobody can see, with its rows."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_whatever_is_broken(tmp_path: Path, kind: str) -> None:
    BROKEN[kind](tmp_path / "x.parquet")
    if kind in READ:
        assert read(item(tmp_path / "x.parquet")).to_dicts() == READ[kind]
    else:
        assert f"{tmp_path}/x.parquet" in refused(tmp_path)


def refused(folder: Path) -> str:
    report = run(plan(folder, "select * from t", inputs={"t": f"file://{folder}/x.parquet"}))
    assert report.failure is Failure.INVALID_INPUT, report.message or result(folder)
    return report.message


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_file_has_a_kind_or_a_reason(name: str) -> None:
    kind = PUBLIC[name]
    assert kind in EXACT or kind in BROKEN or kind.startswith(("out: ", "test_", "brotli"))
