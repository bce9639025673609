"""What one URI matches: as few requests as can be, and no file of more than was asked for.

Only what begins with the text before the first wildcard is listed. Where a wildcard stands for a folder in the middle,
and few folders match, each is listed by itself.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.listing import endings, roots
from gpuquery.runner.inputs.listing.pattern import name_matches, shared_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuquery.api.spec import InputFormat
    from gpuquery.runner.inputs.listing.pattern import Pattern
    from gpuquery.runner.stores.base import Files, Found

MAX_FILES = 1_000_000
"""Files of one input; each takes some 400 bytes of memory in each process."""
LISTED_APART = 16
"""Folders in the place of a wildcard that are listed one by one, and alternatives of braces that are so at once."""
MOST_NAMED = 1000


@dataclass
class Passed:
    """Files that were passed over, though they may hold rows."""

    count: int = 0
    first: str = ""

    def add(self, key: str) -> None:
        """Count one."""
        self.count += 1
        self.first = min(self.first or key, key)


@dataclass
class Haul:
    """What is there for one URI."""

    files: dict[str, Found] = field(default_factory=dict)
    """By key, in no order."""
    other: Passed = field(default_factory=Passed)
    """Files of other endings."""
    empty: Passed = field(default_factory=Passed)
    """Files without a byte."""
    folders: set[str] = field(default_factory=set)
    """Folders that match in place of a file."""
    roots: set[roots.Root] = field(default_factory=set)
    """Roots of tables that were seen."""
    unsure: set[str] = field(default_factory=set)
    """Folders that may be roots of tables."""
    asked: list[Pattern] = field(default_factory=list)
    """The patterns that were listed, or looked at, one by one."""


def search(patterns: Sequence[Pattern], files: Files, format: InputFormat, *, remote: bool) -> Haul:
    """Find what matches any of the patterns, which none names exactly. Raises JobError, over a million files too."""
    haul = Haul()
    if len(patterns) > LISTED_APART:
        # What they have in common may be a whole bucket: it gets as many pages as there are patterns.
        deep = len({one.folder for one in patterns}) > 1 or any(one.deep for one in patterns)
        pages = iter(files.below(shared_prefix(patterns), deep=deep))
        _take(itertools.islice(pages, len(patterns)), patterns, format, haul)
        if next(pages, None) is None:
            return haul
        haul = Haul()
    for pattern in patterns:
        for part in _narrowed(pattern, files, haul, remote):
            haul.asked.append(part)
            _take(files.below(part.prefix, deep=part.deep), (part,), format, haul)
    return haul


def too_many() -> JobError:
    """Return the refusal of an input of more files than are resolved."""
    return JobError(
        Failure.INVALID_INPUT,
        f"more than {MAX_FILES:,} files match: read a part of them, or write them anew as fewer and larger files",
    )


def _narrowed(pattern: Pattern, files: Files, haul: Haul, remote: bool) -> Iterable[Pattern]:
    """Put the folders that are there in the place of wildcards in the middle, as far as that saves anything."""
    if pattern.exact or not pattern.deep or not _selective(pattern, remote):
        return (pattern,)
    wild = pattern.parts[pattern.first_wild]
    pages = iter(files.below(pattern.prefix, deep=False))
    shown = list(next(pages, ()))
    if next(pages, None) is not None:
        if remote:
            return (pattern,)
        shown += [one for page in pages for one in page]
    haul.roots |= {root for one in shown if (root := roots.root_of(one.key))}
    names = [one.key[len(pattern.folder) : -1] for one in shown if one.key.endswith("/")]
    names = [name for name in names if name_matches(wild, name)]
    if remote and len(names) > LISTED_APART:
        return (pattern,)
    return [one for name in names for one in _narrowed(pattern.within(name), files, haul, remote)]


def _selective(pattern: Pattern, remote: bool) -> bool:
    """Whether some folders below the prefix are not asked for."""
    folders = pattern.parts[pattern.first_wild : -1]
    if folders and folders[0].any_depth:
        return False
    return bool(folders) and (not remote or any(not part.any_name for part in folders))


def _take(pages: Iterable[Sequence[Found]], patterns: Sequence[Pattern], format: InputFormat, haul: Haul) -> None:
    for page in pages:
        for one in page:
            if (root := roots.root_of(one.key)) is not None and len(haul.roots) < roots.MOST:
                haul.roots.add(root)
            _take_one(one, patterns, format, haul)
        if len(haul.files) > MAX_FILES:
            raise too_many()


def _take_one(one: Found, patterns: Sequence[Pattern], format: InputFormat, haul: Haul) -> None:
    key = one.key
    if not key.endswith("/"):
        for pattern in patterns:
            if pattern.matches(key):
                if pattern.open_ended and not endings.is_of(key, format):
                    haul.other.add(key)
                elif not one.bytes:
                    # Without an ending it is the marker of a folder, of which some listings leave out the slash.
                    if not pattern.open_ended or "." in key.rpartition("/")[2]:
                        haul.empty.add(key)
                else:
                    haul.files[key] = one
                return
    elif key.endswith("metadata/"):
        haul.unsure.add(key[: -len("metadata/")])
    if len(haul.folders) < MOST_NAMED:
        haul.folders.update(folder for pattern in patterns if (folder := pattern.matching_folder(key)))
