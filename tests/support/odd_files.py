"""The like of each kind of file in apache/parquet-testing and apache/arrow-testing: made here, none copied.

Files that say one thing only, each with the rows that its author put in. `odd_broken` has the other ones.
"""

from __future__ import annotations

import datetime as dt
import gzip
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import odd_parquet as odd
from tests.support.odd_parquet import Chunk, Node, Page, integers, levels, texts
from tests.support.tiny_parquet import fields, text, zigzag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

D = Decimal
Rows = list[dict[str, Any]]


class Exact(NamedTuple):
    """A file, and the rows that are in it."""

    write: Callable[[Path], None]
    rows: Rows


def of_arrow(table: pa.Table, **options: Any) -> Exact:
    """A file that pyarrow writes."""
    return Exact(lambda path: pq.write_table(table, path, **options), table.to_pylist())


def of_bytes(nodes: list[Node], chunks: list[Chunk], rows: Rows, more: odd.Fields = ()) -> Exact:
    """A file of one row group that is spelled out."""
    return Exact(lambda path: odd.write(path, nodes, [(len(rows), chunks)], more), rows)


def column(name: str, values: list[Any]) -> Rows:
    """Rows of one column."""
    return [{name: value} for value in values]


def flat(name: str, physical: int, body: bytes, values: list[Any], **changes: Any) -> Exact:
    """One column without nulls, of one PLAIN page."""
    keys = {"codec", "packed", "named"}
    chunk = Chunk((name,), physical, (Page(body, len(values)),), **{k: v for k, v in changes.items() if k in keys})
    node = Node(name, physical, **{k: v for k, v in changes.items() if k not in keys})
    return of_bytes([node], [chunk], column(name, values))


# Lists and maps of old and odd forms.

REPEATED_INTEGER = Page(levels(0, 1, 0, 0) + levels(1, 1, 0, 1) + integers(1, 2, 3), 4)  # [1, 2], [], [3]


def plain_repeated() -> Exact:
    """Repeated fields without LIST."""
    words = Page(levels(0, 0, 1, 0) + levels(1, 1, 1, 0) + texts("x", "y", "z"), 4)  # [x], [y, z], []
    rows = [{"i": [1, 2], "s": ["x"]}, {"i": [], "s": ["y", "z"]}, {"i": [3], "s": []}]
    nodes = [
        Node("i", odd.INT32, odd.REPEATED),
        Node("s", odd.BYTES, odd.REPEATED, converted=odd.UTF8),
    ]
    chunks = [Chunk(("i",), odd.INT32, (REPEATED_INTEGER,)), Chunk(("s",), odd.BYTES, (words,))]
    return of_bytes(nodes, chunks, rows)


def repeated_group() -> Exact:
    """A repeated group without LIST, in a group: phone numbers of a person."""
    number = Page(levels(0, 1, 0, 0) + levels(2, 2, 1, 0) + struct.pack("<2q", 5, 6), 4)
    kind = Page(levels(0, 1, 0, 0) + levels(3, 2, 1, 0) + texts("home"), 4)
    inner = Node(
        "phone", None, odd.REPEATED,
        (Node("number", odd.INT64), Node("kind", odd.BYTES, odd.OPTIONAL, converted=odd.UTF8)),
    )  # fmt: skip
    rows = [
        {"numbers": {"phone": [{"number": 5, "kind": "home"}, {"number": 6, "kind": None}]}},
        {"numbers": {"phone": []}},
        {"numbers": None},
    ]
    chunks = [
        Chunk(("numbers", "phone", "number"), odd.INT64, (number,)),
        Chunk(("numbers", "phone", "kind"), odd.BYTES, (kind,)),
    ]
    return of_bytes([Node("numbers", None, odd.OPTIONAL, (inner,))], chunks, rows)


def two_levels(name: str) -> Exact:
    """A list whose repeated field is its element."""
    page = Page(levels(0, 1, 0, 0) + levels(2, 2, 1, 0) + integers(1, 2), 4)  # [1, 2], [], null
    node = Node("a", None, odd.OPTIONAL, (Node(name, odd.INT32, odd.REPEATED),), odd.LIST)
    return of_bytes([node], [Chunk(("a", name), odd.INT32, (page,))], column("a", [[1, 2], [], None]))


def lists_of_two_levels(name: str) -> Exact:
    """Lists of lists, both without a level for elements: `old_list_structure.parquet`."""
    page = Page(levels(0, 2, 1, 2, 0) + levels(3, 3, 3, 3, 2) + integers(1, 2, 3, 4), 5)
    inner = Node(name, None, odd.REPEATED, (Node(name, odd.INT32, odd.REPEATED),), odd.LIST)
    node = Node("a", None, odd.OPTIONAL, (inner,), odd.LIST)
    chunk = Chunk(("a", name, name), odd.INT32, (page,))
    return of_bytes([node], [chunk], column("a", [[[1, 2], [3, 4]], [[]]]))


def list_of_structs_of_two_levels(name: str) -> Exact:
    """A list whose repeated group has several fields, and so is its element."""
    x = Page(levels(0, 1, 0) + levels(2, 2, 0) + integers(1, 2), 3)
    y = Page(levels(0, 1, 0) + levels(3, 2, 0) + texts("p"), 3)
    inner = Node(
        name, None, odd.REPEATED, (Node("x", odd.INT32), Node("y", odd.BYTES, odd.OPTIONAL, converted=odd.UTF8))
    )
    node = Node("a", None, odd.OPTIONAL, (inner,), odd.LIST)
    rows = column("a", [[{"x": 1, "y": "p"}, {"x": 2, "y": None}], None])
    return of_bytes([node], [Chunk(("a", name, "x"), odd.INT32, (x,)), Chunk(("a", name, "y"), odd.BYTES, (y,))], rows)


def structs_of_one_field(name: str) -> Exact:
    """A repeated group of one field is an element of the name `array` or `<list>_tuple`, and no element else."""
    page = Page(levels(0, 1, 0) + levels(2, 2, 0) + integers(1, 2), 3)
    inner = Node(name, None, odd.REPEATED, (Node("x", odd.INT32),))
    node = Node("a", None, odd.OPTIONAL, (inner,), odd.LIST)
    element = [{"x": 1}, {"x": 2}] if name in ("array", "a_tuple") else [1, 2]
    return of_bytes([node], [Chunk(("a", name, "x"), odd.INT32, (page,))], column("a", [element, None]))


def old_map(converted: int, key: int, *, value: bool = True) -> Exact:
    """A map: annotated in an old way, with keys that may be null, without values."""
    keys = Page(levels(0, 1, 0) + levels(*((3, 3, 0) if key else (2, 2, 0))) + texts("p", "q"), 3)
    values = Page(levels(0, 1, 0) + levels(3, 2, 0) + integers(7), 3)
    children = [Node("key", odd.BYTES, key, converted=odd.UTF8)]
    chunks = [Chunk(("m", "key_value", "key"), odd.BYTES, (keys,))]
    if value:
        children.append(Node("value", odd.INT32, odd.OPTIONAL))
        chunks.append(Chunk(("m", "key_value", "value"), odd.INT32, (values,)))
    inner = Node("key_value", None, odd.REPEATED, tuple(children), odd.MAP_KEY_VALUE if converted == odd.MAP else None)
    pairs = [{"key": "p", "value": 7}, {"key": "q", "value": None}]
    rows = column("m", [pairs if value else ["p", "q"], None])
    return of_bytes([Node("m", None, odd.OPTIONAL, (inner,), converted)], chunks, rows)


# Pages.


def null_page_of_two(codec: int, body: bytes, *, compressed: bool) -> Exact:
    """A page of version 2 whose only value is null: nothing, or nothing compressed."""
    header = fields(
        (1, 5, zigzag(1)), (2, 5, zigzag(1)), (3, 5, zigzag(1)), (4, 5, zigzag(0)), (5, 5, zigzag(2)),
        (6, 5, zigzag(0)), (7, 1 if compressed else 2, b""),
    )  # fmt: skip
    page = Page(b"\x02\x00" + body, 1, kind=3, size=2, header=header)
    return of_bytes(
        [Node("a", odd.FLOAT, odd.OPTIONAL)], [Chunk(("a",), odd.FLOAT, (page,), codec)], column("a", [None])
    )


def gzip_members(body: bytes) -> bytes:
    """Two members of gzip, one behind the other."""
    return gzip.compress(body[:100]) + gzip.compress(body[100:])


def hadoop_lz4(body: bytes) -> bytes:
    """LZ4 as Hadoop frames it, in blocks of up to 1,000 bytes."""
    raw = pa.Codec("lz4_raw")
    out = b""
    for at in range(0, len(body), 1000):
        part = body[at : at + 1000]
        made = raw.compress(part, asbytes=True)
        out += struct.pack(">II", len(part), len(made)) + made
    return out


LONG = list(range(1000))
LONGS = struct.pack("<1000q", *LONG)


def dictionary_at_zero() -> Exact:
    """The metadata says that the dictionary begins at 0, and that data begin where the dictionary does."""
    pages = (Page(integers(10, 20), 2, kind=2), Page(odd.indexes(1, 0, 1, 1), 3, odd.PLAIN_DICTIONARY))
    chunk = Chunk(("a",), odd.INT32, pages, offset_of_dictionary=0)
    return of_bytes([Node("a", odd.INT32)], [chunk], column("a", [10, 20, 20]))


def nan_as_bound() -> Exact:
    """An old writer has taken NaN for the largest value."""
    nan, one = struct.pack("<d", float("nan")), struct.pack("<d", 1.0)
    told = fields(
        (1, 8, b"\x08" + nan), (2, 8, b"\x08" + one), (3, 6, zigzag(0)), (5, 8, b"\x08" + nan), (6, 8, b"\x08" + one)
    )
    chunk = Chunk(("a",), odd.DOUBLE, (Page(struct.pack("<3d", 1.0, float("nan"), 2.0), 3),), more=((12, 12, told),))
    return of_bytes([Node("a", odd.DOUBLE)], [chunk], column("a", [1.0, float("nan"), 2.0]))


def metadata_of_chunk() -> Exact:
    """Key-value metadata of a column chunk, one key without a value."""
    pairs = bytes([2 << 4 | 12]) + fields((1, 8, text("foo")), (2, 8, text("bar"))) + fields((1, 8, text("bare")))
    chunk = Chunk(("a",), odd.INT32, (Page(integers(1, 2), 2),), more=((8, 9, pairs),))
    return of_bytes([Node("a", odd.INT32)], [chunk], column("a", [1, 2]))


def orders() -> Exact:
    """Orders of columns that have no name yet: IEEE 754 and that of INT96."""
    unions = bytes([1 << 4 | 12]) + fields((2, 12, b"\0"))
    told = fields(
        (3, 6, zigzag(0)), (5, 8, b"\x08" + struct.pack("<d", 2.0)), (6, 8, b"\x08" + struct.pack("<d", -0.0))
    )
    chunk = Chunk(("a",), odd.DOUBLE, (Page(struct.pack("<2d", -0.0, 2.0), 2),), more=((12, 12, told),))
    return of_bytes([Node("a", odd.DOUBLE)], [chunk], column("a", [-0.0, 2.0]), ((7, 9, unions),))


# Values.


def scaled(scale: int, precision: int) -> odd.Fields:
    return ((7, 5, zigzag(scale)), (8, 5, zigzag(precision)))


DECIMALS = [D("1.23"), D("-1.23"), D("100.00")]


def big(value: D, size: int = 0) -> bytes:
    unscaled = int(value.scaleb(2))
    return unscaled.to_bytes(size or (unscaled.bit_length() // 8 + 1), "big", signed=True)


def timestamps_of_twelve_bytes() -> Exact:
    """TIMESTAMP(MICROS) as FIXED_LEN_BYTE_ARRAY(12), which a proposal allows."""
    logical = fields((8, 12, fields((1, 1, b""), (2, 12, fields((2, 12, b"\0"))))))
    values = b"".join(value.to_bytes(12, "little", signed=True) for value in (0, 1_000_000))
    utc = dt.UTC
    rows = [dt.datetime(1970, 1, 1, tzinfo=utc), dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=utc)]
    return flat("a", odd.FIXED, values, rows, length=12, more=((10, 12, logical),))


def narrow(bits: int, *, signed: bool, converted: int, values: list[int]) -> Exact:
    """Integers of 8 and 16 bits by the older annotation alone, stored as INT32."""
    return flat("a", odd.INT32, integers(*values), values, converted=converted)


NESTED = pa.table(
    {
        "l": [[[["a", None], None], None, []], None, [[["b"]]]],
        "m": pa.array(
            [[("k", [(1, True), (2, None)])], None, []], pa.map_(pa.string(), pa.map_(pa.int32(), pa.bool_()))
        ),
        "s": [{"x": {"y": {"z": 1}, "w": [{"v": None}]}}, None, {"x": None}],
        "e": pa.array([[], None, []], pa.list_(pa.null())),
    }
)
FLOATS = pa.table(
    {"f": pa.array([1.5, None, -0.0, float("inf")] * 50, pa.float32()), "d": [0.1, None, 1e300, -5e-324] * 50}
)
MANY = pa.table({"a": pa.array([n if n % 3 else None for n in range(500)], pa.int32()), "b": range(500)})
WORDS = pa.table(
    {"s": [f"prefix-{n % 7}-{n}" if n % 5 else None for n in range(500)], "t": [f"{n}" for n in range(500)]}
)
INTEGERS = pa.table(
    {str(kind): pa.array([0, 1, None, (1 << (kind.bit_width - (0 if "uint" in str(kind) else 1))) - 1], kind)
     for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())}
)  # fmt: skip
SPLIT = pa.table(
    {"f": FLOATS["f"][:4], "d": FLOATS["d"][:4], "i": pa.array([1, -2, None, 3], pa.int32()), "j": [1, -2, None, 3],
     "b": pa.array([b"abcde", None, b"12345", b"\xff" * 5], pa.binary(5)),
     "n": pa.array([D("1.234"), None, D("-0.001"), D("9999.999")], pa.decimal128(7, 3))}
)  # fmt: skip
OPTIONAL = pa.table({"a": pa.array([n if 200 <= n < 300 else None for n in range(500)], pa.int32())})
LOOSE = {"compression": "none", "use_dictionary": False}
EXACT: dict[str, Exact] = {
    "a repeated field without LIST": plain_repeated(),
    "a repeated group without LIST": repeated_group(),
    "a list of two levels": two_levels("element"),
    "a list of two levels, named array": two_levels("array"),
    "lists of lists of two levels": lists_of_two_levels("array"),
    "lists of lists of two levels, named element": lists_of_two_levels("element"),
    "a list of structs of two levels": list_of_structs_of_two_levels("element"),
    "a list of structs of one field, array": structs_of_one_field("array"),
    "a list of structs of one field, tuple": structs_of_one_field("a_tuple"),
    "a list of three levels with odd names": structs_of_one_field("bag"),
    "a map with keys that may be null": old_map(odd.MAP, odd.OPTIONAL),
    "a map without values": old_map(odd.MAP, odd.REQUIRED, value=False),
    "a map that says MAP_KEY_VALUE": old_map(odd.MAP_KEY_VALUE, odd.REQUIRED),
    "lists, maps and structs within each other": of_arrow(NESTED),
    "an empty list": of_arrow(pa.table({"emptylist": pa.array([[]], pa.list_(pa.string()))})),
    "a struct of nulls": of_arrow(pa.table({"b": pa.array([{"x": None}] * 8, pa.struct([("x", pa.int32())]))})),
    "DELTA_BINARY_PACKED": of_arrow(MANY, column_encoding="DELTA_BINARY_PACKED", use_dictionary=False),
    "DELTA_BYTE_ARRAY": of_arrow(WORDS, column_encoding="DELTA_BYTE_ARRAY", use_dictionary=False),
    "DELTA_LENGTH_BYTE_ARRAY": of_arrow(WORDS, column_encoding="DELTA_LENGTH_BYTE_ARRAY", use_dictionary=False),
    "BYTE_STREAM_SPLIT": of_arrow(SPLIT, column_encoding="BYTE_STREAM_SPLIT", use_dictionary=False, compression="zstd"),
    "booleans as RLE": of_arrow(
        pa.table({"b": [True, None, False] * 30}), column_encoding="RLE", use_dictionary=False, data_page_version="2.0"
    ),
    "a dictionary that ends in the middle": of_arrow(
        WORDS, dictionary_pagesize_limit=64, data_page_size=64, write_batch_size=32
    ),
    "a dictionary of format 1": of_arrow(WORDS, version="1.0"),
    "a dictionary at 0": dictionary_at_zero(),
    "tiny pages with an index": of_arrow(MANY, data_page_size=1, write_batch_size=4, write_page_index=True),
    "tiny pages without dictionary": of_arrow(
        MANY, data_page_size=1, write_batch_size=4, write_page_index=True, **LOOSE
    ),
    "more pages than 16 bits count": of_arrow(
        pa.table({"a": pa.array(range(40_000), pa.int32())}), data_page_size=1, write_batch_size=1, **LOOSE
    ),
    "pages of nulls alone": of_arrow(OPTIONAL, data_page_size=1, write_batch_size=20, write_page_index=True, **LOOSE),
    "pages of version 2": of_arrow(NESTED, data_page_version="2.0", compression="snappy"),
    "a page of version 2 that is null, compressed": null_page_of_two(
        6, pa.Codec("zstd").compress(b"", asbytes=True), compressed=True
    ),
    "a page of version 2 without data, said to be compressed": null_page_of_two(odd.SNAPPY, b"", compressed=True),
    "right checksums": of_arrow(MANY, write_page_checksum=True),
    "members of gzip": flat("a", odd.INT64, LONGS, LONG, codec=odd.GZIP, packed=gzip_members),
    "LZ4 as Hadoop frames it": flat("a", odd.INT64, LONGS[:800], LONG[:100], codec=odd.LZ4, packed=hadoop_lz4),
    "LZ4 of Hadoop in blocks": flat("a", odd.INT64, LONGS, LONG, codec=odd.LZ4, packed=hadoop_lz4),
    "LZ4 without Hadoop's frame": flat(
        "a", odd.INT64, LONGS, LONG, codec=odd.LZ4, packed=lambda body: pa.Codec("lz4_raw").compress(body, asbytes=True)
    ),
    "LZ4 in its own frame": flat(
        "a", odd.INT64, LONGS, LONG, codec=odd.LZ4, packed=lambda body: pa.Codec("lz4").compress(body, asbytes=True)
    ),
    "LZ4_RAW": of_arrow(MANY, compression="lz4"),
    "brotli": of_arrow(MANY, compression="brotli"),
    "bloom filters": of_arrow(WORDS, bloom_filter_options={"s": True}, write_page_index=True),
    "metadata of a column chunk": metadata_of_chunk(),
    "a chunk that does not name its path": flat("a", odd.INT32, integers(1, 2), [1, 2], named=False),
    "sorting columns": of_arrow(MANY, sorting_columns=[pq.SortingColumn(1, descending=True)], row_group_size=200),
    "orders of columns without a name": orders(),
    "NaN as a bound": nan_as_bound(),
    "NaN alone": of_arrow(pa.table({"mycol": [float("nan")]})),
    "NaN, zeros of both signs, infinities": of_arrow(
        pa.table({"a": [float("nan"), 0.0, -0.0, float("inf"), None]}), row_group_size=1
    ),
    "bounds that are cut": of_arrow(
        pa.table({"a": ["x" * 200 + c for c in "ab"] + ["\U0001f680" * 100]}), write_page_index=True
    ),
    "integers of every width": of_arrow(INTEGERS),
    "integers of every width, pages of format 1": of_arrow(INTEGERS, version="1.0"),
    "INT_8 of old": narrow(8, signed=True, converted=15, values=[-128, 127]),
    "INT_16 of old": narrow(16, signed=True, converted=16, values=[-32768, 32767]),
    "UINT_8 of old": narrow(8, signed=False, converted=11, values=[0, 255]),
    "UINT_16 of old": narrow(16, signed=False, converted=12, values=[0, 65535]),
    "UINT_32 of old": flat("a", odd.INT32, struct.pack("<2I", 0, 2**32 - 1), [0, 2**32 - 1], converted=13),
    "UINT_64 of old": flat("a", odd.INT64, struct.pack("<2Q", 0, 2**64 - 1), [0, 2**64 - 1], converted=14),
    "decimals as INT32": of_arrow(
        pa.table({"v": pa.array(DECIMALS, pa.decimal128(5, 2))}), store_decimal_as_integer=True
    ),
    "decimals as INT64": of_arrow(
        pa.table({"v": pa.array(DECIMALS, pa.decimal128(10, 2))}), store_decimal_as_integer=True
    ),
    "decimals of fixed length": of_arrow(pa.table({"v": pa.array(DECIMALS, pa.decimal128(25, 2))})),
    "decimals of fixed length, longer than need be": flat(
        "v",
        odd.FIXED,
        b"".join(big(v, 6) for v in DECIMALS),
        DECIMALS,
        length=6,
        converted=odd.DECIMAL,
        more=scaled(2, 5),
    ),
    "decimals as bytes": flat(
        "v", odd.BYTES, texts(*(big(v) for v in DECIMALS)), DECIMALS, converted=odd.DECIMAL, more=scaled(2, 5)
    ),
    "durations": of_arrow(pa.table({"a": pa.array([1, None, -5], pa.int64()).cast(pa.duration("us"))})),
    "timestamps of twelve bytes": timestamps_of_twelve_bytes(),
    "BSON": flat("a", odd.BYTES, texts(b"\x05\0\0\0\0"), [b"\x05\0\0\0\0"], converted=20),
    "UUID": of_arrow(pa.table({"a": pa.array([b"0123456789abcdef", None], pa.binary(16))})),
    "bytes that are texts without saying so": flat("foo", odd.BYTES, texts("a", "\x00"), [b"a", b"\x00"]),
    "names without letters": of_arrow(pa.table([[1], [2], [3], [4]], names=["", "a.b", "c:", " "])),
    "row groups without rows": Exact(
        lambda path: odd.write(
            path,
            [Node("a", odd.INT32)],
            [
                (0, [Chunk(("a",), odd.INT32, (Page(b"", 0),))]),
                (2, [Chunk(("a",), odd.INT32, (Page(integers(1, 2), 2),))]),
            ],
        ),
        column("a", [1, 2]),
    ),
    "no row groups": of_arrow(pa.table({"a": pa.array([], pa.int32())})),
}
