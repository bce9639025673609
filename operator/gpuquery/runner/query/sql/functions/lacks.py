"""What cudf-polars translates. Generated: `GOLDEN=write pytest tests/releases/test_functions.py`.

Every release that runs SQL on GPUs is here.
"""

NONE: dict[str, str] = {
    "26.02": """
octet_length right overlay strpos reverse string_split parse_dirname parse_dirpath parse_path strip_accents
nfc_normalize regexp_replace regexp_extract_all string_split_regex regexp_escape ascii unicode chr hex unhex bin
to_base encode decode to_base64 from_base64 url_encode atan2 factorial << >> bit_count quarter epoch_ns
make_time strptime try_strptime range generate_series list_slice list_resize list_select list_contains
list_position list_has_any list_has_all <@ list_intersect list_concat list_distinct list_unique list_sort
list_reverse_sort list_grade_up list_where flatten array_length list_aggregate list_inner_product
list_negative_inner_product list_distance list_cosine_similarity list_cosine_distance list_transform list_filter
error
""",
    "26.04": """
octet_length right overlay strpos reverse string_split parse_dirname parse_dirpath parse_path strip_accents
nfc_normalize regexp_replace regexp_extract_all string_split_regex regexp_escape ascii unicode chr hex unhex bin
to_base encode decode to_base64 from_base64 url_encode atan2 factorial << >> bit_count quarter date_part
epoch_ns make_time strptime try_strptime range generate_series list_slice list_resize list_select list_contains
list_position list_has_any list_has_all <@ list_intersect list_concat list_distinct list_unique list_sort
list_reverse_sort list_grade_up list_where flatten array_length list_aggregate list_inner_product
list_negative_inner_product list_distance list_cosine_similarity list_cosine_distance list_transform list_filter
error
""",
    "26.06": """
octet_length right overlay strpos reverse string_split parse_dirname parse_dirpath parse_path strip_accents
nfc_normalize regexp_replace regexp_extract_all string_split_regex regexp_escape ascii unicode chr hex unhex bin
to_base encode decode to_base64 from_base64 url_encode atan2 factorial << >> bit_count quarter date_part
epoch_ns make_time strptime try_strptime range generate_series list_slice list_resize list_select list_contains
list_position list_has_any list_has_all <@ list_intersect list_concat list_distinct list_unique list_sort
list_reverse_sort list_grade_up list_where flatten array_length list_aggregate list_inner_product
list_negative_inner_product list_distance list_cosine_similarity list_cosine_distance list_transform list_filter
error
""",
    "26.08": """
octet_length right overlay strpos reverse string_split parse_dirname parse_dirpath parse_path strip_accents
nfc_normalize regexp_replace regexp_extract_all string_split_regex regexp_escape ascii unicode chr hex unhex bin
to_base encode decode to_base64 from_base64 url_encode atan2 bit_count date_part make_time strptime try_strptime
range generate_series list_slice list_resize list_select list_contains list_position list_has_any list_has_all
<@ list_intersect list_concat list_distinct list_unique list_sort list_reverse_sort list_grade_up list_where
flatten array_length list_aggregate list_inner_product list_negative_inner_product list_distance
list_cosine_similarity list_cosine_distance list_transform list_filter error
""",
    "26.10": """
octet_length right overlay strpos reverse string_split parse_dirpath parse_path strip_accents nfc_normalize
regexp_replace regexp_extract_all string_split_regex regexp_escape ascii unicode chr hex unhex bin to_base
encode decode to_base64 from_base64 url_encode atan2 bit_count date_part make_time strptime try_strptime range
generate_series list_slice list_resize list_select list_contains list_position list_has_any list_has_all <@
list_intersect list_concat list_distinct list_unique list_sort list_reverse_sort list_grade_up list_where
flatten array_length list_aggregate list_inner_product list_negative_inner_product list_distance
list_cosine_similarity list_cosine_distance list_transform list_filter error
""",
}
"""Functions of whose calls it translates none."""
SOME: dict[str, str] = {
    "26.02": """
length substring left || concat concat_ws repeat lpad rpad trim ltrim rtrim replace like ilike regexp_matches
regexp_full_match regexp_extract round trunc round_even hour minute second millisecond microsecond nanosecond
epoch julian epoch_ms epoch_us date_trunc date_diff date_sub time_bucket timezone list_value list_extract
""",
    "26.04": """
length substring left || concat concat_ws repeat lpad rpad trim ltrim rtrim replace like ilike regexp_matches
regexp_full_match regexp_extract round trunc round_even hour minute second millisecond microsecond nanosecond
epoch julian epoch_ms epoch_us date_trunc date_diff date_sub time_bucket timezone list_value list_extract
""",
    "26.06": """
length substring left || concat concat_ws repeat lpad rpad trim ltrim rtrim replace like ilike regexp_matches
regexp_full_match regexp_extract round trunc round_even hour minute second millisecond microsecond nanosecond
epoch julian epoch_ms epoch_us date_trunc date_diff date_sub time_bucket timezone list_value list_extract
greatest
""",
    "26.08": """
length substring left || concat concat_ws repeat lpad rpad trim ltrim rtrim replace like ilike regexp_matches
regexp_full_match regexp_extract round trunc << >> hour minute second millisecond microsecond nanosecond epoch
julian epoch_ms epoch_us epoch_ns date_trunc date_diff date_sub time_bucket timezone list_value list_extract
greatest
""",
    "26.10": """
length substring left || concat concat_ws repeat lpad rpad trim ltrim rtrim replace like ilike regexp_matches
regexp_full_match regexp_extract round trunc << >> hour minute second millisecond microsecond nanosecond epoch
epoch_ms epoch_us epoch_ns date_diff date_sub time_bucket list_value list_extract
""",
}
"""Functions of whose calls it translates some."""
