"""Deleted rows of Iceberg tables: by position, by deletion vector, by equality, each with its age and its partition."""

import random

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, LongType, NestedField, StringType

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import deletes
from tests.support import iceberg

SCHEMA = Schema(
    NestedField(1, "id", LongType()), NestedField(2, "kind", StringType()), NestedField(3, "weight", DoubleType())
)


@pytest.fixture
def lake(tmp_path):
    with iceberg.served(tmp_path) as served:
        yield served


def filled(lake, *ranges, spec=None, **properties):
    """A table with one file for each range of ids; `kind` is even, odd or null."""
    table = lake.table(SCHEMA, **({"partition_spec": spec} if spec else {}), properties=properties)
    for ids in ranges:
        table.append(data(ids))
    return table


def data(ids):
    kinds = [("even", "odd", None)[n % 3] for n in ids]
    return pa.table(
        {"id": pa.array(ids, pa.int64()), "kind": pa.array(kinds, pa.string()), "weight": [n / 2 for n in ids]}
    )


def paths(table):
    found = table.inspect.data_files().to_pylist()
    return [one["file_path"] for one in sorted(found, key=lambda one: next(iter(one["lower_bounds"]))[1])]


def ids(lake, **asked):
    return sorted(lake.read(**asked)["id"])


def test_rows_deleted_by_position_are_gone_from_their_file_alone(lake):
    table = filled(lake, range(5), range(10, 15), range(20, 25))
    first, second, third = paths(table)
    iceberg.add_files(table, [iceberg.position_deletes(table, [(first, 0), (first, 4), (third, 2)])])
    iceberg.add_files(table, [iceberg.position_deletes(table, [(first, 4), (first, 1)])])
    want = sorted(table.scan().to_arrow()["id"].to_pylist())
    assert ids(lake) == want == [2, 3, 10, 11, 12, 13, 14, 20, 21, 23, 24]
    assert second


def test_filters_and_few_columns_do_not_shift_the_positions_of_deleted_rows(lake):
    table = filled(lake, range(1000), range(1000, 2000), **{"write.parquet.row-group-limit": "100"})
    first, second = paths(table)
    gone = sorted(random.Random(1).sample(range(1000), 300))
    iceberg.add_files(
        table, [iceberg.position_deletes(table, [(first, n) for n in gone] + [(second, n) for n in gone])]
    )
    frame = lake.resolve().frame(lake.access)
    alive = [n for n in range(2000) if n % 1000 not in set(gone)]
    for engine in ("streaming", "in-memory"):
        found = frame.filter(pl.col("id").is_between(950, 1230)).select("kind", "id").collect(engine=engine)
        assert sorted(found["id"]) == [n for n in alive if 950 <= n <= 1230]
        assert frame.select(pl.len()).collect(engine=engine).item() == len(alive)
        assert frame.select("weight").collect(engine=engine)["weight"].sum() == sum(alive) / 2


def test_deletes_do_not_touch_files_that_are_younger(lake):
    table = filled(lake, range(3))
    (path,) = paths(table)
    older = iceberg.position_deletes(table, [(path, 1)])
    equality = iceberg.equality_deletes(table, pa.table({"id": [2, 7]}), {"id": 1})
    iceberg.add_files(table, [older, equality])
    table.append(data([1, 2, 7]))
    assert ids(lake) == [0, 1, 2, 7]


def test_a_deletion_vector_replaces_the_positional_deletes_of_its_file(lake):
    table = filled(lake, range(5), range(10, 15))
    first, second = paths(table)
    iceberg.add_files(table, [iceberg.position_deletes(table, [(first, 0), (second, 0)])])
    vectors = iceberg.deletion_vectors(table, {first: [1, 3], second: [0, 4]})
    iceberg.add_files(table, vectors, version=3)
    assert ids(lake) == [0, 2, 4, 11, 12, 13]


def test_a_deletion_vector_of_a_file_that_is_gone_deletes_nothing(lake):
    table = filled(lake, range(5))
    iceberg.add_files(table, iceberg.deletion_vectors(table, {"file:///gone.parquet": [0, 1]}), version=3)
    assert ids(lake) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("keys", "numbers", "want"),
    [
        pytest.param({"id": [1, 3, 99]}, {"id": 1}, [0, 2, 4, 5], id="by one column"),
        pytest.param({"kind": ["odd", None]}, {"kind": 2}, [0, 3], id="a null is a null"),
        pytest.param(
            {"id": [0, 1, 2], "kind": ["even", "even", None]}, {"id": 1, "kind": 2}, [1, 3, 4, 5], id="by two"
        ),
    ],
)
def test_rows_equal_to_a_key_are_gone(lake, keys, numbers, want):
    table = filled(lake, range(6))
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table(keys), numbers)])
    assert ids(lake) == want


def test_an_equality_delete_finds_its_column_by_id_though_it_was_renamed_or_dropped(lake):
    table = filled(lake, range(6))
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"kind": ["odd"]}), {"kind": 2})])
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"id": [0]}), {"id": 1})])
    with table.update_schema() as change:
        change.delete_column("kind").rename_column("id", "number")
    table.append(pa.table({"number": [0, 4], "weight": [0.0, 0.0]}))
    assert sorted(lake.read()["number"]) == [0, 0 + 2, 3, 4, 5]


def test_equality_deletes_stay_in_their_partition(lake):
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "kind"))
    table = filled(lake, [0, 1, 2, 3, 4, 5], spec=spec)
    keys = pa.table({"id": [0, 1, 2]})
    iceberg.add_files(table, [iceberg.equality_deletes(table, keys, {"id": 1}, partition=("even",))])
    assert ids(lake) == [1, 2, 3, 4, 5]
    iceberg.add_files(table, [iceberg.equality_deletes(table, keys, {"id": 1}, partition=(None,))])
    assert ids(lake) == [1, 3, 4, 5]


def test_equality_deletes_of_an_unpartitioned_spec_apply_everywhere(lake):
    table = filled(lake, range(3))
    with table.update_spec() as change:
        change.add_identity("kind")
    table.append(data(range(3, 6)))
    keys = iceberg.equality_deletes(table, pa.table({"id": [0, 3, 5]}), {"id": 1}, spec_id=0)
    iceberg.add_files(table, [keys])
    assert ids(lake) == [1, 2, 4]


def test_deletes_by_position_and_by_equality_add_up(lake):
    table = filled(lake, range(6), range(10, 13))
    first, _ = paths(table)
    iceberg.add_files(table, [iceberg.position_deletes(table, [(first, 5)])])
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"id": [0, 11]}), {"id": 1})])
    found = lake.resolve()
    assert sorted(found.frame(lake.access).collect()["id"]) == [1, 2, 3, 4, 10, 12]
    assert "compact the table" in found.reading.cpu_only
    told = found.frame(lake.access, places="file").collect()
    assert set(told["file"]) == {one.uri for one in found.files}


def test_a_table_without_positional_deletes_is_read_by_gpu_engines_too(lake):
    table = filled(lake, range(6))
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"id": [0]}), {"id": 1})])
    assert lake.resolve().reading.cpu_only == ""


def broken_vector(table, path):
    (one,) = iceberg.deletion_vectors(table, {path: [1]})
    where = one.file_path.removeprefix("file://")
    with open(where, "r+b") as file:
        file.seek(4 + 9)  # the vector follows on four bytes
        file.write(b"\xff")
    return [one]


def orc(table, path):
    parquet = iceberg.position_deletes(table, [(path, 0)]).file_path.removeprefix("file://")
    content, form = iceberg.DataFileContent.POSITION_DELETES, iceberg.FileFormat.ORC
    return [iceberg.file_of(table, parquet, 1, content=content, file_format=form)]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        pytest.param(broken_vector, "its checksum is wrong", id="a broken vector"),
        pytest.param(orc, "holds deletes as ORC", id="deletes in another format"),
        pytest.param(
            lambda t, path: [iceberg.position_deletes(t, [(path, 6)])], "has 6 rows, and a delete names position 6",
            id="a position that is not there",
        ),
        pytest.param(
            lambda t, path: [iceberg.equality_deletes(t, pa.table({"weight": [1.0]}), {"weight": 3})],
            'by column "weight" of type double', id="keys of floating point",
        ),
        pytest.param(
            lambda t, path: [iceberg.equality_deletes(t, pa.table({"id": ["x"]}), {"id": 1})],
            'column "id" is BYTE_ARRAY (String) in the file, and long in the table', id="keys of another type",
        ),
    ],
)  # fmt: skip
def test_deletes_that_cannot_be_applied_exactly_are_refused(lake, made, said):
    table = filled(lake, range(6))
    iceberg.add_files(table, made(table, *paths(table)), version=3 if made is broken_vector else 2)
    with pytest.raises(JobError) as caught:
        lake.resolve()
    assert caught.value.failure is Failure.INVALID_INPUT
    assert said in caught.value.message
    assert "sales.orders" in caught.value.message


def test_a_file_that_has_other_rows_than_its_manifest_says_is_refused(lake):
    table = filled(lake, range(6))
    path = f"{lake.folder}/more.parquet"
    pq.write_table(iceberg.with_ids(data(range(3)), {"id": 1, "kind": 2, "weight": 3}), path)
    iceberg.add_files(table, [iceberg.file_of(table, path, 4)], content=iceberg.ManifestContent.DATA)
    with pytest.raises(JobError, match="has 3 rows, and the manifest says 4"):
        lake.resolve()


@given(st.sets(st.integers(0, 2**40), min_size=1))
def test_positions_come_back_as_they_were_written(found):
    series = pl.Series(sorted(found), dtype=pl.Int64)
    assert deletes.unpack(deletes.pack(series)).equals(series)


@pytest.mark.parametrize("blob", [b"", b"\0" * 40, b"\0\0\0\4\xd1\xd3\x39\x64\0\0\0\0"])
def test_what_is_no_deletion_vector_is_refused(blob):
    with pytest.raises(ValueError, match=r"does not begin as one|checksum"):
        deletes.vector(blob, 1)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_the_rows_are_those_of_a_plain_list(lake, seed):
    """Appends, renames and deletes of all kinds; beside the table a list of (id, file, place in it) is kept."""
    random_ = random.Random(seed)
    table, alive, names, number = filled(lake), [], {}, 0
    for _ in range(8):
        match random_.choice(["append", "append", "positions", "equality", "vector", "rename"]) if names else "append":
            case "append":
                new = data(range(number, number + 20))
                table.append(new.rename_columns([table.schema().fields[0].name, "kind", "weight"]))
                (name,) = set(paths(table)) - set(names)
                names[name] = False
                alive += [(number + n, name, n) for n in range(20)]
                number += 20
            case "positions":
                name, gone = random_.choice(list(names)), sorted(random_.sample(range(20), 4))
                if names[name]:  # a file with a vector has no other positional deletes
                    continue
                iceberg.add_files(table, [iceberg.position_deletes(table, [(name, n) for n in gone])])
                alive = [one for one in alive if one[1] != name or one[2] not in gone]
            case "vector":
                name = random_.choice(list(names))
                if names[name]:
                    continue
                before = {n for _, file, n in alive if file == name}
                gone = sorted((set(range(20)) - before) | set(random_.sample(range(20), 3)))
                iceberg.add_files(table, iceberg.deletion_vectors(table, {name: gone}), version=3)
                names[name] = True
                alive = [one for one in alive if one[1] != name or one[2] not in gone]
            case "equality":
                keys = random_.sample(range(number), 5)
                iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"any": keys}), {"any": 1})])
                alive = [one for one in alive if one[0] not in keys]
            case "rename":
                with table.update_schema() as change:
                    change.rename_column(table.schema().fields[0].name, f"id{number}")
    assert sorted(lake.read().to_series(0)) == sorted(one[0] for one in alive)
