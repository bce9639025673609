"""The words in which a broken file is told: input, file, place, reason and way out, bounded and without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.failures.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.inputs.explain.lookup import Broken

MAX_CHARACTERS = 600
MAX_FILES = 5
"""Files that a message names."""
_MAX_REASON = 300
_MAX_PLACE = 200
_WAY_OUT = "write the file again, or leave it out of the input"


def bounded(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return the text without secrets, cut where it is too long."""
    text = redact(text)
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def of_broken(found: Sequence[Broken]) -> str:
    """Tell of broken files of one input; the first with its place and reason, up to four more by name."""
    first, more = found[0], found[1:MAX_FILES]
    reason = bounded(first.reason, _MAX_REASON).rstrip(".: ")
    others = f"; {', '.join(short(one.file) for one in more)} cannot be read either" if more else ""
    if first.complete:
        return bounded(f"{reason}{others}")
    place = [f"row group {first.group}"] if first.group is not None else []
    place += [f'column "{first.column}"'] if first.column else []
    where = f" at {', '.join(place)}" if place else ""
    told = f'input "{first.input}": {short(first.file)} cannot be read{where}: {reason}{others}'
    return f"{bounded(told, MAX_CHARACTERS - len(_WAY_OUT) - 2)}; {_WAY_OUT}"


def short(place: str) -> str:
    """Return a place; of a long one its beginning and its end, which names the file."""
    return place if len(place) <= _MAX_PLACE else f"{place[:60]}...{place[60 + 3 - _MAX_PLACE :]}"
