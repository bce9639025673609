"""What to say about a function that is not in the table: why it is not there, the nearest name, or the way out."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.equivalents import EQUIVALENTS
from gpuquery.runner.query.sql.errors import Place, SqlError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NO_DIGEST = "no expression computes digests: join and group by the values, or have the digest in a column of the input"
_NO_REDUCE = "use list_sum, list_product, list_max, array_to_string, or UNNEST and an aggregate"
_NO_DISTANCE = "no expression compares two texts letter by letter"
_NO_JSON = "values in JSON are not read or written: have them in columns or structs of their own"
_NO_MAP = "values of the type MAP are not supported: use a struct, or a list of structs"
_NO_VARIANT = "values of the type VARIANT are not supported: cast them to a type of their own"
_NO_GRAPHEMES = "characters are counted as code points here"
_SAME_RESULT = "its result may change with a release: compare or join by the values themselves"

_FAMILIES = (
    ("md5 md5_number md5_number_lower md5_number_upper sha1 sha256", _NO_DIGEST),
    (
        "levenshtein editdist3 damerau_levenshtein hamming mismatches jaccard jaro_similarity jaro_winkler_similarity",
        _NO_DISTANCE,
    ),
    (
        "json json_array json_array_length json_contains json_deep_merge json_exists json_extract json_extract_path "
        "json_extract_path_text json_extract_string json_insert json_keys json_merge_patch json_merge_patch_diff "
        "json_normalize json_object json_pretty json_quote json_remove json_replace json_set json_strip_nulls "
        "json_structure json_transform json_transform_strict json_type json_valid json_value to_json from_json "
        "from_json_strict array_to_json row_to_json ->>",
        _NO_JSON,
    ),
    (
        "map map_concat map_contains map_entries map_extract map_extract_value map_from_entries map_keys map_values "
        "cardinality element_at switch",
        _NO_MAP,
    ),
    (
        "variant_array_length variant_contains variant_exists variant_extract variant_extract_string variant_keys "
        "variant_type variant_typeof union_extract union_tag union_value",
        _NO_VARIANT,
    ),
    ("left_grapheme length_grapheme right_grapheme substring_grapheme", _NO_GRAPHEMES),
)
REFUSED = {
    **{name: why for names, why in _FAMILIES for name in names.split()},
    "hash": _SAME_RESULT,
    "age": "months and days of an interval are not held: date_sub('month', a, b) and date_diff('day', a, b) count them",
    "normalized_interval": "months and days of an interval are not held: use epoch(interval)",
    "gamma": "no expression computes it; factorial(n) is for whole numbers",
    "lgamma": "no expression computes it; factorial(n) is for whole numbers",
    "nextafter": "no expression gives the next floating-point number",
    "list_zip": "lists are not put side by side here: UNNEST both of them",
    "list_reduce": _NO_REDUCE,
    "struct_update": "write the struct anew: {'a': s.a, 'b': 1}",
    "struct_values": "a row without names of its own cannot be held",
    "struct_contains": "rows without names of their own cannot be held",
    "struct_position": "rows without names of their own cannot be held",
    "bar": "no expression draws a bar; repeat('*', n) does",
    "url_decode": "no expression reads `%` codes; replace(a, '%20', ' ') does for one of them",
    "unbin": "no expression reads binary digits; unhex reads hexadecimal ones",
    "path_join": "write a || '/' || b",
    "array_value": "arrays of a fixed size are not supported: use a list",
    "bitstring": "values of the type BIT are not supported: use whole numbers",
    "get_bit": "values of the type BIT are not supported: use (a >> n) & 1",
    "set_bit": "values of the type BIT are not supported: use a | (1 << n)",
    "make_timestamptz": "write make_timestamp(...) AT TIME ZONE 'UTC'",
    "equi_width_bins": "write width and start of the bins as constants",
}
"""Functions of DuckDB 2.0 that are not in the table, and why."""


def unknown(name: str, known: Iterable[str], place: Place | None) -> SqlError:
    """Return the refusal of a function that is not in the table."""
    if name in REFUSED:
        return SqlError(f"{name}() is not supported: {REFUSED[name]}", place)
    if name in EQUIVALENTS:
        return SqlError(f"function {name}() does not exist: {EQUIVALENTS[name]}", place)
    near = get_close_matches(name, [word for word in known if word.isidentifier()], n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ": the reference of functions lists the ones that do"
    return SqlError(f"function {name}() does not exist here{hint}", place)
