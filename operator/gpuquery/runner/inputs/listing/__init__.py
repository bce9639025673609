"""Find the files of an input: folders, globs and lists of them, on every store by the same rules.

One rule says which files are read (docs/inputs.md): what begins with `.` or `_` is passed over unless it is named. So
is, with a warning, a file of another ending where the ending is left open, and a file without a byte. The root of a
table is refused. Files are read in the order of their places.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, NamedTuple

from gpuquery.api.reasons import Failure
from gpuquery.runner import later, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import faults
from gpuquery.runner.inputs.base import File, Listed
from gpuquery.runner.inputs.listing import roots, walk
from gpuquery.runner.inputs.listing.pattern import Pattern, PatternError, patterns
from gpuquery.runner.inputs.listing.walk import Haul

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Files, Location

THREADS = 8
"""URIs of one input that are listed at a time."""


class _Place(NamedTuple):
    """One URI of an input."""

    uri: str
    at: Location
    patterns: tuple[Pattern, ...]
    files: Files


def listed(item: Input, access: StoreAccess) -> Listed:
    """List the files of an input. Raises JobError."""
    places = _places(item, access)
    hauls = later.each(lambda place: _haul(item, place, access), places, THREADS)
    _refuse_tables(item, places, hauls)
    files: dict[str, File] = {}
    warnings: list[str] = []
    for place, haul in zip(places, hauls, strict=True):
        if not haul.files:
            raise _nothing(item, place, haul, access)
        spelled, root = stores.of(place.uri).source, place.at.folder("")
        for key, one in haul.files.items():
            uri = spelled(root + key)
            files[uri] = File(uri, one.bytes, one.version)
        warnings += _warnings(item, place, haul)
    if len(files) > walk.MAX_FILES:
        raise JobError(Failure.INVALID_INPUT, f'input "{item.name}": {walk.too_many().message}')
    return Listed(tuple(sorted(files.values())), tuple(dict.fromkeys(warnings)))


def _places(item: Input, access: StoreAccess) -> list[_Place]:
    """Read the URIs, and open each bucket once. Raises JobError where they cannot be read together."""
    opened: dict[str, Files] = {}
    found: list[_Place] = []
    for uri in item.places:
        at = stores.locate(uri)
        bucket = at.folder("")
        if bucket not in opened:
            opened[bucket] = stores.files(uri, access)
        try:
            read = patterns(_spelled(at.prefix, stores.of(uri).remote), folder=uri.endswith("/"))
        except PatternError as exc:
            raise JobError(Failure.INVALID_INPUT, f'input "{item.name}": {uri}: {exc}') from None
        found.append(_Place(uri, at, read, opened[bucket]))
        _check_together(item, found[0].uri, uri, access)
    return found


def _spelled(path: str, remote: bool) -> str:
    """Return a path of this machine in one spelling: `/a/./b` and `/a//b` are the same file, which is read once."""
    return path if remote else "/" + "/".join(name for name in path.split("/") if name not in ("", "."))


def _check_together(item: Input, first: str, uri: str, access: StoreAccess) -> None:
    path = uri.partition("://")[2].partition("/")[2]
    if stores.of(uri).remote and any(name in ("", ".", "..") for name in path.removesuffix("/").split("/") if path):
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": {uri} has an empty, "." or ".." folder in it, which the readers cannot name: copy '
            "the files to other keys",
        )
    if stores.of(first) is not stores.of(uri) or stores.scan_options(access, first) != stores.scan_options(access, uri):
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": {first} and {uri} are in stores that cannot be read as one table: make two inputs '
            "of them, and combine these with UNION ALL",
        )


def _haul(item: Input, place: _Place, access: StoreAccess) -> Haul:
    exact = [one for one in place.patterns if one.exact]
    globs = [one for one in place.patterns if not one.exact]
    try:
        haul = Haul()
        if globs:
            haul = walk.search(globs, place.files, item.format, remote=stores.of(place.uri).remote)
        if exact:
            paths = [_uri(place, one.prefix) for one in exact]
            for found in place.files.look(paths).values():
                if found.bytes:
                    haul.files[found.key] = found
                else:
                    haul.empty.add(found.key)
    except JobError as exc:
        if exc.failure is Failure.BUCKET_NOT_FOUND:
            raise faults.missing(item, access, place.uri, place.patterns[0].prefix) from exc
        raise JobError(exc.failure, f'input "{item.name}" ({place.uri}): {exc.message}') from exc
    return haul


def _refuse_tables(item: Input, places: Sequence[_Place], hauls: Sequence[Haul]) -> None:
    """Raise InvalidInput if files of a table would be read without its log."""
    looked: dict[tuple[str, str], Sequence[roots.Root]] = {}
    for place, haul in zip(places, hauls, strict=True):
        keys = sorted(haul.files)
        for folder in sorted(_unseen(place, haul)):
            at = (place.at.bucket, folder)
            if at not in looked:
                looked[at] = roots.look(folder, place.files, remote=stores.of(place.uri).remote)
            haul.roots.update(looked[at])
        for root in sorted(haul.roots):
            if (first := _first_below(keys, root.folder)) is None:
                if keys or not any(root.folder in (one.folder, f"{one.prefix}/") for one in place.patterns):
                    continue
                first = root.folder
            if root.kind is roots.Kind.STREAM and all(one.exact for one in place.patterns):
                continue  # whoever names files has read the log
            if root.kind is not roots.Kind.OWN or not _names_data(place, root, first):
                raise faults.table(item, root.kind, place.at.folder(root.folder))


def _unseen(place: _Place, haul: Haul) -> Iterable[str]:
    """Return the folders whose table's log the listing has not shown."""
    found = set(haul.unsure)
    for one in dict.fromkeys((*place.patterns[: walk.LISTED_APART], *haul.asked[: walk.LISTED_APART])):
        found.update(roots.above(one))
        if one.exact and not haul.files:
            found.add(f"{one.prefix}/")
    return found


def _first_below(keys: Sequence[str], folder: str) -> str | None:
    """Return the first of some sorted keys that is below a folder."""
    at = bisect.bisect_left(keys, folder)
    return keys[at] if at < len(keys) and keys[at].startswith(folder) else None


def _names_data(place: _Place, root: roots.Root, key: str) -> bool:
    """Whether the URI itself says that the rows of our own table are meant."""
    named = any(part.exact and part.start == "data" for one in place.patterns for part in one.parts)
    return named and key.startswith(f"{root.folder}data/")


def _nothing(item: Input, place: _Place, haul: Haul, access: StoreAccess) -> JobError:
    if haul.empty.count:
        why = f"{_counted(haul.empty, place)} without a byte"
    elif haul.other.count:
        why = f"{_counted(haul.other, place)} of another ending than {item.format.value}: name the ending in a glob"
    elif haul.folders:
        folder = _uri(place, min(haul.folders))
        why = f"a folder: end the URI with a slash to read what is below it, as in {folder}"
    else:
        return faults.missing(item, access, place.uri, place.patterns[0].prefix)
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": no file matches {place.uri}; there is {why}')


def _warnings(item: Input, place: _Place, haul: Haul) -> Iterable[str]:
    told = f'input "{item.name}" ({place.uri})'
    if haul.other.count:
        yield (
            f"{told}: passed over {_counted(haul.other, place)} whose ending is none of {item.format.value}; a glob "
            "that says the ending reads such files"
        )
    if haul.empty.count:
        yield f"{told}: passed over {_counted(haul.empty, place)} without a byte"
    if haul.folders:
        count = "a folder matches" if len(haul.folders) == 1 else f"{len(haul.folders):,} folders match"
        yield (
            f"{told}: {count} in place of a file, the first {_uri(place, min(haul.folders))}, and what is in it is not "
            "read: end the URI with a slash to read folders"
        )


def _counted(passed: walk.Passed, place: _Place) -> str:
    first = _uri(place, passed.first)
    return f"a file, {first}," if passed.count == 1 else f"{passed.count:,} files, the first {first},"


def _uri(place: _Place, key: str) -> str:
    return stores.of(place.uri).source(place.at.folder(key))
