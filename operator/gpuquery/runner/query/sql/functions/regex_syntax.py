r"""Regular expressions of DuckDB (RE2) in the words of Polars (Rust's regex), where both mean the same.

Both find the leftmost match and prefer the first alternative. What differs is written otherwise (`\d` is ASCII in RE2
and Unicode in Rust's; a bracket in a set is a bracket in RE2) or refused. Sources: RE2's syntax page, the documentation
of the crate regex 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target

_META = frozenset("\\.+*?()|[]{}^$#&-~")
_SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_SAME = frozenset("aftnrv")
_REPETITION = re.compile(r"\{\d+(,\d*)?\}")
_GROUP = re.compile(r"\(\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_CODE = re.compile(r"x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]{1,6}\})")
_CATEGORY = re.compile(r"[pP](?:[LMNPSZ]|\{\^?(?:L[ult]?|Lm|Lo|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?)\})")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")


def end_of_text(target: Target) -> str:
    r"""Return the pattern for the end of a text. To cudf `$` stands before a last line feed too, and `\Z` does not."""
    return r"\Z" if target.gpu else "$"


class DiffersError(Exception):
    """RE2 and Rust's regex do not mean the same by a pattern."""


def quoted(text: str) -> str:
    """Return a pattern that matches this text only."""
    return "".join(f"\\{letter}" if letter in _META else letter for letter in text)


@dataclass
class _Branches:
    """How many characters each alternative of a group has at least, of those that were read."""

    done: list[int] = field(default_factory=list)
    size: int = 0
    last: int = 0
    """Of the atom that was read last: a repetition may leave it out."""
    repeated: bool = False

    def add(self, size: int) -> None:
        self.size, self.last, self.repeated = self.size + size, size, False

    def repeat(self, *, may_be_none: bool) -> None:
        """A repetition stands behind the last atom; a `?` behind a repetition only says which match is preferred."""
        if may_be_none and not self.repeated:
            self.size -= self.last
        self.last, self.repeated = 0 if may_be_none else self.last, True

    def alternative(self) -> None:
        self.done.append(self.size)
        self.size, self.last, self.repeated = 0, 0, False

    @property
    def least(self) -> int:
        return min([*self.done, self.size])


@dataclass
class Pattern:
    """A pattern of RE2, as Rust's regex writes it."""

    text: str
    rust: str = ""
    end: str = "$"
    """How the end of the text is written."""
    groups: int = 0
    anchored: bool = False
    """Whether a match depends on what stands around it."""
    _at: int = field(default=0, repr=False)
    _open: list[_Branches] = field(default_factory=lambda: [_Branches()], repr=False)

    @classmethod
    def of(cls, text: str, end: str = "$") -> Pattern:
        """Translate a pattern; DiffersError with the reason if it cannot be."""
        found = cls(text, end=end)
        while found._at < len(text):
            found._next()
        return found

    @property
    def matches_nothing(self) -> bool:
        """Whether it may match an empty text."""
        return self._open[0].least == 0

    def _next(self) -> None:
        letter = self.text[self._at]
        match letter:
            case "\\":
                self._escape()
            case "[":
                self._set()
            case "(":
                self._group()
            case "{" if found := _REPETITION.match(self.text, self._at):
                self._open[-1].repeat(may_be_none=found[0].startswith(("{0,", "{0}")))
                self._take(found[0])
            case "*" | "+" | "?":
                self._open[-1].repeat(may_be_none=letter != "+")
                self._take(letter)
            case "^" | "$":
                self._anchor(letter, self.end if letter == "$" else "^")
            case ")" if len(self._open) > 1:
                size = self._open.pop().least
                self._open[-1].add(size)
                self._take(letter)
            case "|":
                self._open[-1].alternative()
                self._take(letter)
            case _:
                self._open[-1].add(1)
                self._take(letter, letter if letter == "." else quoted(letter))

    def _anchor(self, text: str, rust: str) -> None:
        self.anchored = True
        self._open[-1].add(0)
        self._take(text, rust)

    def _take(self, text: str, rust: str | None = None) -> None:
        self._at += len(text)
        self.rust += text if rust is None else rust

    def _escape(self) -> None:
        letter = self.text[self._at + 1 : self._at + 2]
        if not letter:
            raise DiffersError("it ends with a backslash")
        if letter.lower() in _SETS:
            self._open[-1].add(1)
            self._take(f"\\{letter}", f"[{'^' if letter.isupper() else ''}{_SETS[letter.lower()]}]")
        elif letter == "b":
            self._anchor("\\b", r"(?-u:\b)")
        elif letter in "Az":
            self._anchor(f"\\{letter}", self.end if letter == "z" and self.end != "$" else f"\\{letter}")
        elif letter == "Q":
            inside, _, _ = self.text[self._at + 2 :].partition("\\E")
            self._at = min(self._at + 4 + len(inside), len(self.text))
            self.rust += quoted(inside)
            self._open[-1].add(len(inside) - 1)
            self._open[-1].add(1)
        else:
            self._open[-1].add(1)
            self._take(*self._code(letter))

    def _code(self, letter: str) -> tuple[str, str]:
        """Return an escape that means the same in a set and outside, and how Rust writes it."""
        if letter in _SAME:
            return f"\\{letter}", f"\\{letter}"
        for kind in (_CODE, _CATEGORY):
            if found := kind.match(self.text, self._at + 1):
                return f"\\{found[0]}", f"\\{found[0]}"
        if letter.isascii() and not letter.isalnum() and letter != "_":
            return f"\\{letter}", quoted(letter)
        raise DiffersError(f"\\{letter} is not supported in it")

    def _group(self) -> None:
        if not self.text.startswith("(?", self._at):
            self.groups += 1
            self._open.append(_Branches())
            self._take("(")
            return
        found = _GROUP.match(self.text, self._at)
        if found is None:
            raise DiffersError(f"{self.text[self._at : self._at + 4]} is not supported in it")
        self.groups += found["end"] is None
        if found["end"] != ")":
            self._open.append(_Branches())
        self._take(found[0])

    def _set(self) -> None:
        start = re.compile(r"\[\^?").match(self.text, self._at)
        assert start is not None
        self._take(start[0])
        first = True
        while first or not self.text.startswith("]", self._at):
            if self._at >= len(self.text):
                raise DiffersError("a [ in it has no ]")
            first = False
            self._member()
        self._open[-1].add(1)
        self._take("]")

    def _member(self) -> None:
        letter = self.text[self._at]
        if found := _POSIX.match(self.text, self._at):
            self._take(found[0])
        elif letter == "\\":
            escaped = self.text[self._at + 1 : self._at + 2]
            if escaped in ("d", "w", "s"):
                self._take(f"\\{escaped}", _SETS[escaped])
            elif escaped in ("D", "W", "S"):
                self._take(f"\\{escaped}", f"[^{_SETS[escaped.lower()]}]")
            else:
                self._take(*self._code(escaped))
        elif letter == "-" and self.text[self._at + 1 : self._at + 2] not in ("]", "") and self.rust[-1] not in "[^":
            self._take("-")
        else:
            self._take(letter, quoted(letter))


def replacement(text: str, groups: int) -> str:
    r"""Return what RE2 puts in place of a match, as Rust's regex writes it: `\1` is a group, `$` is a dollar."""
    made, at = "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
            following = text[at : at + 1]
            if following.isdigit() and int(following) <= groups:
                made += f"${{{following}}}"
            elif following == "\\":
                made += "\\"
            else:
                raise DiffersError(f"\\{following} in the replacement stands for no group")
        else:
            made += "$$" if letter == "$" else letter
        at += 1
    return made
