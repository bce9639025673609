"""Globs, with one meaning on every store.

`*` and `?` stand for characters of one name, `**` (alone between slashes) for any number of folders, `[a-c]` and
`[!a-c]` for one character, `{a,b}` for one of several texts, and `[*]` for the character itself. Capitals count.

Names that begin with `.` or `_` are kept for bookkeeping (`_SUCCESS`, `_temporary/`, `.part-0.parquet.crc`), so no
wildcard stands for the beginning of one: pyarrow and Spark pass over them too. A name with `_` first and a `=` in it is
a partition (`_day=1/`), which Spark reads (`InMemoryFileIndex`, `HadoopFSUtils.shouldFilterOutPathName`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ALTERNATIVES = 1000
"""How many patterns the braces of one URI may stand for."""
_SEEN = r"(?!\.|_[^=/]*(?:/|\Z))"
"""Regular expression: a name that is none of bookkeeping begins here."""
_ANY_FOLDERS = rf"(?:{_SEEN}[^/]+/)*"
_ANY_NAME = rf"{_SEEN}[^/]+"
_RANGES = re.compile(r"(.)(?:-(.))?", re.DOTALL)
"""The characters and ranges in the brackets of a class."""


class PatternError(ValueError):
    """A glob that means nothing, or several things; the text says what to write."""


@dataclass(frozen=True)
class Part:
    """The pattern of one name."""

    start: str
    """The text before the first wildcard."""
    regex: str
    exact: bool
    """Whether `start` is all of it."""
    any_depth: bool = False
    """Whether it is `**`."""

    @property
    def any_name(self) -> bool:
        """Whether it says nothing about the name."""
        return self.any_depth or self.regex == "[^/]*"


@dataclass(frozen=True)
class Pattern:
    """A glob without braces, or the exact place of one file."""

    parts: tuple[Part, ...]
    open_ended: bool
    """Whether it leaves the ending of files open: a folder, or a glob that ends with `*`."""

    @property
    def exact(self) -> bool:
        """Whether it names one file."""
        return all(part.exact for part in self.parts)

    @property
    def first_wild(self) -> int:
        """Number of the first part with a wildcard; the number of parts if there is none."""
        return next((number for number, part in enumerate(self.parts) if not part.exact), len(self.parts))

    @property
    def folder(self) -> str:
        """The folder in which the first wildcard, or the file itself, is: with a slash at its end, if any."""
        last = min(self.first_wild, len(self.parts) - 1)
        return "".join(f"{part.start}/" for part in self.parts[:last])

    @property
    def prefix(self) -> str:
        """The beginning that all keys have in common."""
        wild = self.first_wild
        return self.folder + (self.parts[wild].start if wild < len(self.parts) else self.parts[-1].start)

    @property
    def deep(self) -> bool:
        """Whether it looks into folders that are not named."""
        return self.first_wild < len(self.parts) - 1 or self.parts[-1].any_depth

    @functools.cached_property
    def _regex(self) -> re.Pattern[str]:
        *folders, last = self.parts
        text = "".join(_ANY_FOLDERS if part.any_depth else f"{_named(part)}/" for part in folders)
        return re.compile(text + (_ANY_FOLDERS + _ANY_NAME if last.any_depth else _named(last)), re.DOTALL)

    def matches(self, key: str) -> bool:
        """Whether a file's key matches."""
        return self._regex.fullmatch(key) is not None

    @functools.cached_property
    def _as_folder(self) -> re.Pattern[str]:
        return re.compile(f"{self._regex.pattern}/", re.DOTALL)

    def matching_folder(self, key: str) -> str:
        """Return the folder above a key that matches in place of a file, or nothing."""
        found = None if self.parts[-1].any_depth else self._as_folder.match(key)
        return found[0] if found else ""

    def within(self, name: str) -> Pattern:
        """Return the pattern with the first wildcard part replaced by a name."""
        wild = self.first_wild
        named = Part(name, re.escape(name), exact=True)
        return Pattern((*self.parts[:wild], named, *self.parts[wild + 1 :]), self.open_ended)


def patterns(path: str, *, folder: bool) -> tuple[Pattern, ...]:
    """Read a glob, and its braces as several; `folder` is for a path that ended with a slash. Raises PatternError."""
    found = tuple(_pattern(text, folder) for text in _without_braces(path))
    return tuple(dict.fromkeys(found))


def shared_prefix(several: Sequence[Pattern]) -> str:
    """Return the beginning that the keys of several patterns have in common."""
    first, last = min(one.prefix for one in several), max(one.prefix for one in several)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]


def name_matches(part: Part, name: str) -> bool:
    """Whether the name of one folder or file matches."""
    return re.fullmatch(_named(part), name, re.DOTALL) is not None


def _named(part: Part) -> str:
    return part.regex if part.start or part.exact else _SEEN + part.regex


def _pattern(path: str, folder: bool) -> Pattern:
    names = _split(path)
    parts = [_part(name) for name in names] if path else []
    if folder or not parts:
        parts.append(_part("**"))
    return Pattern(tuple(parts), parts[-1].any_depth or (bool(names) and names[-1].endswith("*")))


def _part(text: str) -> Part:
    if text == "**":
        return Part("", _ANY_FOLDERS, exact=False, any_depth=True)
    if "**" in text:
        raise PatternError(
            f"`**` in `{text}` does not stand alone between slashes: write `**/{text.replace('**', '*')}`"
        )
    start, regex, exact = "", "", True
    for piece in _pieces(text):
        single = _literal(piece)
        if single is None:
            exact = False
        elif exact:
            start += single
        regex += _translated(piece) if single is None else re.escape(single)
    return Part(start, regex, exact)


def _pieces(text: str) -> Iterator[str]:
    """Cut into characters, and classes with their brackets. Raises PatternError."""
    at = 0
    while at < len(text):
        if text[at] != "[":
            yield text[at]
            at += 1
            continue
        begun = at + (2 if text[at + 1 : at + 2] in ("!", "^") else 1)
        end = text.find("]", begun + 1)  # a `]` that comes first is one of the characters
        if end < 0:
            raise PatternError(f"`[` in `{text}` is not closed: write `[[]` for the character itself")
        if "/" in text[at:end]:
            raise PatternError(f"`{text[at : end + 1]}` has a slash in it, and stands for one character of a name")
        yield text[at : end + 1]
        at = end + 1


def _literal(piece: str) -> str | None:
    """Return the one character that a piece stands for; None for a wildcard."""
    if piece[0] == "[":
        return piece[1] if len(piece) == 3 else None
    return None if piece in "*?" else piece


def _translated(piece: str) -> str:
    if piece == "*":
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    negated = piece[1] in "!^"
    inside = piece[2:-1] if negated else piece[1:-1]
    made = "".join(_range(piece, *found) for found in _RANGES.findall(inside))
    return f"(?!/)[{'^' if negated else ''}{made}]"


def _range(piece: str, first: str, last: str) -> str:
    if not last:
        return re.escape(first)
    if first > last:
        raise PatternError(f"`{piece}` has a range from `{first}` to `{last}`, which is empty")
    return f"{re.escape(first)}-{re.escape(last)}"


def _split(path: str) -> list[str]:
    """Cut a path at its slashes."""
    names = [""]
    for piece in _pieces(path):
        if piece == "/":
            names.append("")
        else:
            names[-1] += piece
    return names


def _without_braces(path: str) -> list[str]:
    """Write out all texts that braces stand for. Raises PatternError."""
    done, waiting = list[str](), [path]
    while waiting:
        text = waiting.pop()
        if (cut := _first_braces(text)) is None:
            done.append(text)
        else:
            before, inside, after = cut
            waiting += [f"{before}{one}{after}" for one in reversed(inside)]
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise PatternError(f"its braces stand for more than {MAX_ALTERNATIVES:,} texts: use `*`")
    return done


def _first_braces(text: str) -> tuple[str, list[str], str] | None:
    """Return what is before, in (cut at its commas) and behind the first outermost braces; None if there are none."""
    at, depth, begun, since = 0, 0, 0, 0
    inside: list[str] = []
    for piece in _pieces(text):
        if piece == "{":
            depth += 1
            begun, since = (at, at + 1) if depth == 1 else (begun, since)
        elif piece in ",}" and depth == 1:
            inside.append(text[since:at])
            since = at + 1
        if piece == "}" and depth:
            depth -= 1
            if not depth:
                return text[:begun], inside, text[at + 1 :]
        at += len(piece)
    if depth:
        raise PatternError(f"`{{` in `{text}` is not closed: write `[{{]` for the character itself")
    return None
