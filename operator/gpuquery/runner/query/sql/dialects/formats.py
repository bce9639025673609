"""Patterns of dates and times as texts, from each dialect's letters to strftime's.

A letter that has no counterpart is refused: a pattern that is carried over in part is a wrong text in every row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

JAVA = {
    "yyyy": "%Y", "yy": "%y", "y": "%Y", "u": "%Y", "uuuu": "%Y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m",
    "dd": "%d", "d": "%-d", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S",
    "s": "%-S", "SSSSSS": "%f", "SSS": "%g", "a": "%p", "EEEE": "%A", "EEE": "%a", "E": "%a", "DDD": "%j", "D": "%-j",
}  # fmt: skip
"""Java's DateTimeFormatter and Joda's DateTimeFormat: Spark's date_format, Trino's format_datetime."""
ORACLE = {
    "YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "HH24": "%H", "HH12": "%I", "HH": "%I", "MI": "%M", "SS": "%S",
    "MS": "%g", "US": "%f", "AM": "%p", "PM": "%p", "Mon": "%b", "Dy": "%a", "DDD": "%j", "IYYY": "%G", "IW": "%V",
    "FMMonth": "%B", "FMDay": "%A", "TMMonth": "%B", "TMDay": "%A", "FMMM": "%-m", "FMDD": "%-d", "FMHH24": "%-H",
    "FMHH12": "%-I", "FMDDD": "%-j",
}  # fmt: skip
"""PostgreSQL's and Redshift's to_char; `Month` alone is filled up with blanks there, and has no counterpart."""
SNOWFLAKE = {
    "YYYY": "%Y", "YY": "%y", "MM": "%m", "MON": "%b", "MMMM": "%B", "DD": "%d", "DY": "%a", "HH24": "%H",
    "HH12": "%I", "MI": "%M", "SS": "%S", "FF6": "%f", "FF3": "%g", "AM": "%p", "PM": "%p",
}  # fmt: skip
"""Snowflake's; letters of any case."""
MYSQL = {
    "%Y": "%Y", "%y": "%y", "%m": "%m", "%c": "%-m", "%d": "%d", "%e": "%-d", "%H": "%H", "%k": "%-H", "%h": "%I",
    "%I": "%I", "%l": "%-I", "%i": "%M", "%s": "%S", "%S": "%S", "%f": "%f", "%p": "%p", "%M": "%B", "%b": "%b",
    "%W": "%A", "%a": "%a", "%j": "%j", "%T": "%H:%M:%S", "%v": "%V", "%x": "%G", "%%": "%%",
}  # fmt: skip
"""MySQL's, which Trino's date_format and date_parse have."""
STRFTIME = {
    **{f"%{letter}": f"%{letter}" for letter in "YymdHIMSpBbAajUVGuw%"}, "%F": "%Y-%m-%d", "%T": "%H:%M:%S",
    "%R": "%H:%M", "%h": "%b", "%D": "%m/%d/%y", "%E6S": "%S.%f", "%E3S": "%S.%g",
}  # fmt: skip
"""BigQuery's format elements, but for `%e`, which is filled up with a blank there."""


class UnknownLetterError(ValueError):
    """A pattern has a letter that is not known; the message is that piece of it."""


def translated(pattern: str, letters: Mapping[str, str], *, any_case: bool = False) -> str:
    """Return strftime's pattern; raises UnknownLetterError.

    Text in quotes ('T' in Java's, "T" in Oracle's) stands for itself, and so does all that is no letter.
    """
    percent = any(key.startswith("%") for key in letters)
    keys = sorted(letters, key=len, reverse=True)
    flags = re.IGNORECASE if any_case else 0
    quoted = "" if percent else r"""|'(?P<java>(?:[^']|'')*)'|"(?P<oracle>[^"]*)\""""
    token = re.compile(rf"(?P<key>{'|'.join(map(re.escape, keys))}){quoted}|(?P<rest>.)", flags | re.DOTALL)
    folded = {key.upper(): value for key, value in letters.items()} if any_case else letters
    found: list[str] = []
    for match in token.finditer(pattern):
        groups = match.groupdict()
        if (key := groups["key"]) is not None:
            if not percent and not any_case and _is_longer(pattern, match.end(), key):
                raise UnknownLetterError(pattern)
            found.append(folded[key.upper() if any_case else key])
        elif groups.get("java") is not None:
            found.append((groups["java"].replace("''", "'") or "'").replace("%", "%%"))
        elif groups.get("oracle") is not None:
            found.append(groups["oracle"].replace("%", "%%"))
        elif groups["rest"] == "%" or (not percent and groups["rest"].isalnum()):
            raise UnknownLetterError(match[0] if not percent else pattern[match.start() : match.start() + 2])
        else:
            found.append(groups["rest"])
    return "".join(found)


def _is_longer(pattern: str, end: int, key: str) -> bool:
    """Whether the same letter goes on behind a run of it that is known: Java's MMMMM is no MMMM with an M."""
    return len(set(key)) == 1 and pattern[end : end + 1] == key[-1]
