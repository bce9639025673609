"""Deletion vectors: every form in which they are stored, and rows that are removed exactly."""

import json
import struct

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables import delta
from gpuquery.runner.inputs.tables.delta import reading, vectors
from tests.support import delta_tables as d

FIELDS = [d.field("v", "long"), d.field("w", "string")]
HEAD = [d.protocol("deletionVectors"), d.metadata(FIELDS)]


def resolved(path):
    item = Input.model_validate({"name": "t", "uri": f"file://{path}", "delta": {}})
    return delta.resolve(item, StoreAccess())


def frame(path):
    """The frame of another rank, which has the JSON alone."""
    found = resolved(path)
    read = delta.Delta.from_json(json.loads(json.dumps(found.reading.to_json())))
    return read.frame(found.item, found.files, StoreAccess())


def refusal(path):
    with pytest.raises(JobError) as caught:
        resolved(path)
    assert caught.value.failure is Failure.INVALID_INPUT
    return caught.value.message


def rows(first, count):
    numbers = list(range(first, first + count))
    return pa.table({"v": numbers, "w": [str(one) for one in numbers]})


def test_the_vector_that_deltas_own_tests_use_is_read():
    """It stands in the tests of delta-kernel-rs, whose writer is not ours."""
    body = vectors.unpacked("^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L")[:44]
    assert list(vectors.positions(body)) == [3, 4, 7, 11, 18, 29]


def test_the_file_of_a_vector_is_that_of_the_protocols_example():
    assert vectors.path("ab^-aqEH.-t@S}K{vb[*k^") == "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"


SETS = {
    "none": [],
    "few": [0, 5, 9],
    "a run": list(range(100, 9000)),
    "many, scattered": list(range(0, 65536, 3)),
    "a full container": list(range(65536)),
    "several containers": [0, 65535, 65536, 200_000, 300_000, 400_000, 500_000],
    "beyond 32 bits": [1, 2**32 + 7, 2**33],
}


@pytest.mark.parametrize("how", ["array", "run"])
@pytest.mark.parametrize("positions", SETS.values(), ids=SETS)
def test_every_kind_of_container_is_read(positions, how):
    assert list(vectors.positions(d.roaring(positions, how))) == positions


@given(
    st.sets(st.integers(0, 2**40) | st.integers(0, 200_000) | st.integers(0, 70), max_size=300),
    st.sampled_from(["array", "run"]),
)
def test_any_set_is_read(positions, how):
    assert list(
        vectors.positions(vectors.unpacked(d.z85(d.roaring(positions, how)))[: len(d.roaring(positions, how))])
    ) == sorted(positions)


@given(st.binary(max_size=60), st.integers(0, 40))
def test_broken_bytes_are_told_and_never_positions_beyond_them(more, cut):
    body = d.roaring([1, 2, 70_000])[: 4 + cut] + more
    try:
        found = vectors.positions(body)
    except vectors.BrokenVectorError:
        return
    assert list(found) == sorted(set(found))


@pytest.mark.parametrize("how", ["inline", "relative", "relative with a prefix", "absolute"])
def test_vectors_are_found_wherever_they_are(tmp_path, how):
    sets = [[0, 3, 9], [1], []]
    match how:
        case "inline":
            stored = [d.inline(one) for one in sets]
        case "absolute":
            stored = d.in_file(tmp_path / "a b", sets)
            name = next((tmp_path / "a b").iterdir()).name
            stored = [one | {"storageType": "p", "pathOrInlineDv": f"file://{tmp_path}/a%20b/{name}"} for one in stored]
        case _:
            stored = d.in_file(tmp_path, sets, prefix="ab" if "prefix" in how else "")
    adds = [d.add(tmp_path, f"{at}.parquet", rows(10 * at, 10), deletionVector=one) for at, one in enumerate(stored)]
    d.commit(tmp_path, 0, *HEAD, *adds, d.add(tmp_path, "plain.parquet", rows(30, 2)))
    want = [one for one in range(32) if one not in (0, 3, 9, 11)]
    found = frame(tmp_path).collect(engine="streaming").sort("v")
    assert found["v"].to_list() == want
    assert found["w"].to_list() == [str(one) for one in want]


def test_a_newer_vector_replaces_the_older_one(tmp_path):
    old, new = d.inline([0]), d.inline([0, 1])
    d.commit(tmp_path, 0, *HEAD, d.add(tmp_path, "x.parquet", rows(0, 4)))
    d.commit(tmp_path, 1, d.remove("x.parquet"), d.add(tmp_path, "x.parquet", None, deletionVector=old))
    d.commit(tmp_path, 2, d.add(tmp_path, "x.parquet", None, deletionVector=new), d.remove("x.parquet", old))
    assert frame(tmp_path).collect()["v"].to_list() == [2, 3]
    d.checkpoint(
        tmp_path / "_delta_log" / f"{2:020d}.checkpoint.parquet",
        [*HEAD, d.add(tmp_path, "x.parquet", None, deletionVector=new)],
    )
    (tmp_path / "_delta_log" / f"{0:020d}.json").unlink()
    assert frame(tmp_path).collect()["v"].to_list() == [2, 3]


@given(st.data())
def test_exactly_the_deleted_rows_are_missing_whatever_is_asked(tmp_path_factory, data):
    """Files of several row groups and partitions, with filters that skip row groups, against plain Python."""
    path = tmp_path_factory.mktemp("t")
    want, adds = [], []
    for number in range(data.draw(st.integers(1, 4))):
        count = data.draw(st.integers(1, 40))
        gone = sorted(data.draw(st.sets(st.integers(0, count - 1))))
        key = data.draw(st.sampled_from(["1", "2", None]))
        vector = {"deletionVector": d.inline(gone, data.draw(st.sampled_from(["array", "run"])))} if gone else {}
        writer = {"row_group_size": data.draw(st.integers(1, 15))}
        adds.append(d.add(path, f"{number}.parquet", rows(100 * number, count), {"k": key}, writer=writer, **vector))
        k = None if key is None else int(key)
        want += [(100 * number + at, str(100 * number + at), k) for at in range(count) if at not in gone]
    fields = [*FIELDS, d.field("k", "integer")]
    d.commit(path, 0, HEAD[0], d.metadata(fields, ["k"]), *adds)
    low, high = data.draw(st.integers(-1, 400)), data.draw(st.integers(0, 400))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "MAX_SCANS", data.draw(st.sampled_from([0, 64])))
        found = frame(path)
    for engine in ("streaming", "in-memory"):
        assert sorted(found.collect(engine=engine).rows()) == want
        part = found.filter(pl.col("v").is_between(low, high) & (pl.col("k").is_null() | (pl.col("k") == 1)))
        assert sorted(part.select("v", "w").collect(engine=engine).rows()) == [
            (v, w) for v, w, k in want if low <= v <= high and k in (None, 1)
        ]
        assert found.select(pl.len()).collect(engine=engine).item() == len(want)


def test_rows_are_numbered_in_parts_that_32_bits_can_count(tmp_path, monkeypatch):
    adds = [d.add(tmp_path, f"{at}.parquet", rows(10 * at, 10), deletionVector=d.inline([at])) for at in range(5)]
    d.commit(tmp_path, 0, *HEAD, *adds)
    monkeypatch.setattr(reading, "MAX_NUMBERED", 25)
    assert frame(tmp_path).explain(optimized=False).count("Parquet SCAN") == 3
    assert frame(tmp_path).collect()["v"].to_list() == [one for one in range(50) if one % 11]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cardinality": 2}, "deletes 3 rows, and the log says 2"),
        ({"storageType": "x"}, 'storage type is "x"'),
        ({"pathOrInlineDv": "~~~~~"}, "is not Z85"),
        ({"pathOrInlineDv": "0000"}, "groups of five"),
        ({"pathOrInlineDv": "0" * 45}, "only the format 1681511377 is known"),
        ({"sizeInBytes": 20}, "ends too early"),
    ],
)
def test_a_broken_vector_is_named_with_its_file(tmp_path, change, word):
    add = d.add(tmp_path, "x.parquet", rows(0, 10), deletionVector=d.inline([0, 3, 9]) | change)
    d.commit(tmp_path, 0, *HEAD, add)
    told = refusal(tmp_path)
    assert f"the deletion vector of file://{tmp_path}/x.parquet is broken" in told
    assert word in told


def test_a_vector_that_deletes_rows_behind_the_end_is_refused(tmp_path):
    add = d.add(tmp_path, "x.parquet", rows(0, 10), deletionVector=d.inline([10]))
    d.commit(tmp_path, 0, *HEAD, add)
    assert "deletes row 10 of a file of 10 rows" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("at", "word"),
    [(8, "its checksum is wrong"), (1, "there are no"), (None, "a deletion vector is gone")],
    ids=["changed", "another size", "vacuumed"],
)
def test_a_file_of_vectors_that_is_broken_or_gone_is_named(tmp_path, at, word):
    (vector,) = d.in_file(tmp_path, [[0, 3]])
    (file,) = tmp_path.glob("deletion_vector_*.bin")
    body = bytearray(file.read_bytes())
    if at is None:
        file.unlink()
    else:
        body[at] ^= 1
        file.write_bytes(body)
    d.commit(tmp_path, 0, *HEAD, d.add(tmp_path, "x.parquet", rows(0, 10), deletionVector=vector))
    told = refusal(tmp_path)
    assert word in told
    assert file.name in told


def test_a_vector_after_another_in_one_file_is_read_at_its_offset(tmp_path):
    first, second = d.in_file(tmp_path, [[1, 2], [4]])
    assert (first["offset"], struct.calcsize(">BI") + first["sizeInBytes"] + 4) == (1, second["offset"])
    d.commit(tmp_path, 0, *HEAD, d.add(tmp_path, "x.parquet", rows(0, 6), deletionVector=second))
    assert frame(tmp_path).collect()["v"].to_list() == [0, 1, 2, 3, 5]
