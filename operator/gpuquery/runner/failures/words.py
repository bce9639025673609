"""Words: the text of an exception, whose class may be anyone's.

The exceptions of a query are its author's: their text may be no UTF-8, have megabytes, raise another exception, call
itself or never end. The attempt must still report something, soon, in characters that a report can hold.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from gpuquery.runner.failures.redaction import hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 2.0
"""How long the text of an exception may take."""
MAX_CHARACTERS = 8000
"""The rest is ignored: a report has 4,096 bytes."""
MAX_PARTS = 5
"""Most exceptions of a group, and most notes of an exception, in its text."""
_KEPT = "_gpuquery_said"


def said(exc: BaseException) -> str:
    """Return the text of an exception: without credentials, storable as UTF-8; its type where it says nothing.

    Texts of a group's parts and notes (PEP 678) are in it. Never raises; takes two seconds at most.
    """
    with contextlib.suppress(Exception):
        kept = BaseException.__getattribute__(exc, "__dict__").get(_KEPT)
        if type(kept) is str:
            return kept
    text = _within(exc)
    with contextlib.suppress(Exception):  # asked more than once, it may say something else, or take as long again
        BaseException.__setattr__(exc, _KEPT, text)
    return text


def named(exc: BaseException) -> str:
    """Return the name of the type and the text."""
    name, text = kind(exc), said(exc)
    return name if text == name else f"{name}: {text}"


def kind(exc: BaseException) -> str:
    """Return the name of an exception's type."""
    return storable(str(type.__getattribute__(type(exc), "__name__")))[:200]


def storable(text: str) -> str:
    r"""Return a text that UTF-8 and JSON can hold: halves of characters and NUL become `\\udcff` and `\\x00`."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _within(exc: BaseException) -> str:
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(_text(exc))
        except BaseException as other:  # the author's code runs here
            found.append(f"{kind(exc)} (its text cannot be told: {kind(other)})")

    with contextlib.suppress(RuntimeError):  # no thread can be started any more
        thread = threading.Thread(target=ask, name="words", daemon=True)
        thread.start()
        thread.join(SECONDS)
    return found[0] if found else f"{kind(exc)} (its text was not told within {SECONDS:g} s)"


def _text(exc: BaseException) -> str:
    parts = [_cleaned(exc.args[0] if isinstance(exc, KeyError) and len(exc.args) == 1 else exc), *_more(exc)]
    return "\n".join(part for part in parts if part)[:MAX_CHARACTERS] or kind(exc)


def _more(exc: BaseException) -> Iterator[str]:
    if isinstance(exc, BaseExceptionGroup):
        inner = BaseExceptionGroup.exceptions.__get__(exc)
        for one in inner[:MAX_PARTS]:
            text = _text(one)
            yield kind(one) if text == kind(one) else f"{kind(one)}: {text}"
        if len(inner) > MAX_PARTS:
            yield f"and {len(inner) - MAX_PARTS} more"
    notes = getattr(exc, "__notes__", ())
    if isinstance(notes, list | tuple):
        yield from (_cleaned(note) for note in notes[:MAX_PARTS])


def _cleaned(value: Any) -> str:
    # A class derived from str may answer anything to len() and to slices: what follows works on a real one.
    text = str.__str__(str(value))
    return storable(hidden(text[: 2 * MAX_CHARACTERS])[:MAX_CHARACTERS]).strip()
