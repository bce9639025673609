"""Texts and bytes as codes: code points, hexadecimal and binary digits, base64, sizes for people."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Codes and bytes")
_DIGITS = string.digits + string.ascii_uppercase
_BYTES = "".join(f"{byte:02x}" for byte in range(256))
_LAST_CODE = 0x10FFFF
_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_UTF8 = (
    ("^(?:[0-7]H|(?:c[2-9a-f]|dH)N|e0[ab]HN|(?:e[1-9a-cef])NN|ed[89]HN|f0[9ab]HNN|f[1-3]NNN|f48HNN)*$")
    .replace("N", "[89ab]H")
    .replace("H", "[0-9a-f]")
)
"""Bytes in hexadecimal digits that are a text in UTF-8 (RFC 3629, section 4)."""

# Code points


def _code(text: pl.Expr, of_nothing: int) -> pl.Expr:
    """Return the code point of the first character, from its bytes in UTF-8."""
    held = text.str.slice(0, 1).cast(pl.Binary)
    a, b, c, d = (held.bin.slice(at, 1).bin.reinterpret(dtype=pl.UInt8).cast(pl.Int32) for at in range(4))
    two = (a - 0xC0) * 64 + (b - 0x80)
    three = ((a - 0xE0) * 64 + (b - 0x80)) * 64 + (c - 0x80)
    four = (((a - 0xF0) * 64 + (b - 0x80)) * 64 + (c - 0x80)) * 64 + (d - 0x80)
    found = pl.when(a < 0x80).then(a).when(a < 0xE0).then(two).when(a < 0xF0).then(three).when(a <= 0xF7).then(four)
    return pl.when(text == "").then(pl.lit(of_nothing, pl.Int32)).otherwise(found)


def _chr(call: FunctionCall) -> pl.Expr:
    """Return the character of a code point, by way of its bytes in UTF-8 as hexadecimal digits."""
    code = call.exprs[0].cast(pl.Int64)
    bad = (code < 0) | (code > _LAST_CODE) | code.is_between(0xD800, 0xDFFF)
    code = fail_where(code, bad, "{} is not a Unicode code point", call.place, code.cast(pl.String))

    def byte(number: pl.Expr) -> pl.Expr:
        return pl.lit(_BYTES).str.slice(number * 2, 2)

    low, middle, high = (code // 64**place % 64 + 0x80 for place in range(3))
    one = byte(code)
    two = pl.concat_str(byte(code // 64 + 0xC0), byte(low))
    three = pl.concat_str(byte(code // 4096 + 0xE0), byte(middle), byte(low))
    four = pl.concat_str(byte(code // 262144 + 0xF0), byte(high), byte(middle), byte(low))
    digits = pl.when(code < 0x80).then(one).when(code < 0x800).then(two).when(code < 0x10000).then(three)
    return digits.when(code.is_not_null()).then(four).str.decode("hex").cast(pl.String)


TABLE.add_expr(
    "ascii", "VARCHAR -> INTEGER", does="The code point of the first character; 0 of an empty text.",
    build=lambda text: _code(text, 0),
)  # fmt: skip
TABLE.add_expr(
    "unicode", "VARCHAR -> INTEGER", aliases="ord", build=lambda text: _code(text, -1),
    does="The code point of the first character; -1 of an empty text.",
)  # fmt: skip
TABLE.add("chr", "INTEGER -> VARCHAR", does="The character of a code point.", build=_chr)

# Digits


def digits(number: pl.Expr, radix: int) -> pl.Expr:
    """Return the digits of a whole number of 64 bits without a sign, `0` of zero."""
    places, reach = 1, radix
    while reach < 2**64:
        places, reach = places + 1, reach * radix
    parts = [number // pl.lit(radix**place, pl.UInt64) % pl.lit(radix, pl.UInt64) for place in reversed(range(places))]
    text = pl.concat_str([pl.lit(_DIGITS).str.slice(part.cast(pl.Int64), 1) for part in parts])
    short = text.str.strip_chars_start("0")
    return pl.when(short == "").then(pl.lit("0")).otherwise(short)


def _unsigned(call: FunctionCall) -> pl.Expr:
    """Return the bits of a whole number as a number without a sign."""
    kind = call.values[0].type.kind
    if kind is Kind.INT128:
        raise call.refuse(f"{call.node.function} is not supported for {kind}: cast it to BIGINT", 0)
    number = call.exprs[0]
    return number.cast(pl.UInt64) if kind is Kind.UINT64 else number.cast(pl.Int64).reinterpret(signed=False)


def _of_bytes(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].cast(pl.Binary).bin.encode("hex").str.to_uppercase()


def _hex(call: FunctionCall) -> pl.Expr:
    return digits(_unsigned(call), 16) if call.values[0].type.is_integer else _of_bytes(call)


def _bin(call: FunctionCall) -> pl.Expr:
    bits = {digit: f"{int(digit, 16):04b}" for digit in _DIGITS[:16]}
    text = _hex(call).str.replace_many(list(bits), list(bits.values()))
    if not call.values[0].type.is_integer:
        return text
    short = text.str.strip_chars_start("0")
    return pl.when(short == "").then(pl.lit("0")).otherwise(short)


def _to_base(call: FunctionCall) -> pl.Expr:
    radix = call.constant(1)
    least = call.constant(2) if len(call.values) > 2 else 0
    if not 2 <= radix <= 36 or not 0 <= least <= 64:
        raise call.refuse("to_base takes a base of 2 to 36 and a length of 0 to 64", 1)
    number = call.exprs[0].cast(pl.Int64)
    shown = number.cast(pl.String)
    number = fail_where(number, number < 0, "to_base takes no negative numbers, such as {}", call.place, shown)
    return digits(number.cast(pl.UInt64), radix).str.pad_start(least, "0")


def _unhex(call: FunctionCall) -> pl.Expr:
    text = call.exprs[0]
    bad = text.str.contains("[^0-9A-Fa-f]")
    text = fail_where(text, bad, "'{}' is not hexadecimal", call.place, text)
    odd = text.str.len_bytes() % 2 == 1
    return pl.when(odd).then("0" + text).otherwise(text).str.decode("hex")


TABLE.add(
    "hex", "VARCHAR|BLOB -> VARCHAR", "INTEGER -> VARCHAR", aliases="to_hex", build=_hex,
    does="The bytes of a text, or a whole number of 64 bits, in hexadecimal digits.",
)  # fmt: skip
TABLE.add(
    "unhex", "VARCHAR -> BLOB", aliases="from_hex", does="The bytes that hexadecimal digits stand for.", build=_unhex
)
TABLE.add(
    "bin", "VARCHAR -> VARCHAR", "INTEGER -> VARCHAR", aliases="to_binary", build=_bin,
    does="The bytes of a text, or a whole number of 64 bits, in binary digits.",
)  # fmt: skip
TABLE.add(
    "to_base", "INTEGER, 'INTEGER, ['INTEGER] -> VARCHAR", build=_to_base,
    does="A whole number in digits of a base of 2 to 36, with zeros in front up to a length.",
)  # fmt: skip

# Bytes


def _from_base64(call: FunctionCall) -> pl.Expr:
    text = call.exprs[0]
    text = fail_where(text, ~text.str.contains(_BASE64), "'{}' is not base64", call.place, text)
    decoded = text.str.decode("base64", strict=False)
    return fail_where(decoded, decoded.is_null() & text.is_not_null(), "'{}' is not base64", call.place, text)


def _decode(call: FunctionCall) -> pl.Expr:
    """Read bytes as text. Polars' own cast fails without words of ours, so the bytes are checked before."""
    data = call.exprs[0]
    data = fail_where(data, ~data.bin.encode("hex").str.contains(_UTF8), "the bytes are not valid UTF-8", call.place)
    return data.cast(pl.String)


def _url_encode(text: pl.Expr) -> pl.Expr:
    letter = pl.element()
    coded = letter.cast(pl.Binary).bin.encode("hex").str.to_uppercase().str.replace_all("(..)", "%$1")
    kept = letter.str.contains(r"^[A-Za-z0-9_.~-]$")
    return text.str.split("").list.eval(pl.when(kept).then(letter).otherwise(coded)).list.join("")


TABLE.add_expr(
    "encode", "VARCHAR -> BLOB", does="The bytes of a text in UTF-8.", build=lambda text: text.cast(pl.Binary)
)
TABLE.add("decode", "BLOB -> VARCHAR", does="The text that bytes are in UTF-8.", build=_decode)
TABLE.add_expr(
    "to_base64", "BLOB -> VARCHAR", does="Bytes as base64.", aliases="base64",
    build=lambda data: data.bin.encode("base64"),
)  # fmt: skip
TABLE.add("from_base64", "VARCHAR -> BLOB", does="The bytes that base64 stands for.", build=_from_base64)
TABLE.add_expr(
    "url_encode", "VARCHAR -> VARCHAR", does="The text with `%` codes, as a part of a URL.", build=_url_encode
)

# Sizes for people


def _size(call: FunctionCall, step: int, units: tuple[str, ...]) -> pl.Expr:
    number = call.exprs[0].cast(pl.Int64)
    size = number.abs()
    text = pl.concat_str(size.cast(pl.String), pl.when(size == 1).then(pl.lit(" byte")).otherwise(pl.lit(" bytes")))
    for power, unit in enumerate(units, start=1):
        whole, rest = size // step**power, size // step ** (power - 1) % step
        tenths = rest * 10 // step
        wider = pl.concat_str(whole.cast(pl.String), pl.lit("."), tenths.cast(pl.String), pl.lit(f" {unit}"))
        text = pl.when(size >= step**power).then(wider).otherwise(text)
    return pl.when(number < 0).then("-" + text).otherwise(text)


TABLE.add(
    "format_bytes", "INTEGER -> VARCHAR", aliases="formatreadablesize",
    does="A number of bytes for people: `1.5 KiB`.",
    build=lambda call: _size(call, 1024, ("KiB", "MiB", "GiB", "TiB", "PiB")),
)  # fmt: skip
TABLE.add(
    "formatreadabledecimalsize", "INTEGER -> VARCHAR", does="A number of bytes for people, by thousands: `1.5 kB`.",
    build=lambda call: _size(call, 1000, ("kB", "MB", "GB", "TB", "PB")),
)  # fmt: skip
