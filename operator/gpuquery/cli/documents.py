"""YAML as kubectl reads it, within limits, and the places that may surprise its author.

It is built from the parser's events, without recursion: aliases are counted and not copied, so a file that would grow
to billions of values is refused after the first few thousand. Two things are refused that kubectl accepts: a duplicate
key, of which kubectl takes the last, and a number with a fraction as a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from gpuquery.cli import scalars

MAX_CHARACTERS = 8 << 20
"""Of a file. An API server accepts no object over 1.5 MB."""
MAX_DEPTH = 100
MAX_VALUES = 200_000
"""Values of one document, each counted as often as aliases repeat it."""
MAX_TEXT = 16 << 20
"""Characters in the texts of one document, counted in the same way."""
MERGE = "<<"

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Surprise:
    """An unquoted word that means something other than its text."""

    path: Path
    text: str
    value: scalars.Scalar
    line: int
    is_key: bool

    def __str__(self) -> str:
        kind = "the boolean" if isinstance(self.value, bool) else "the number"
        value = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        what = "the name " if self.is_key else ""
        return f"line {self.line}: {what}{self.text}, without quotes, is {kind} {value} to kubectl: put it in quotes"


@dataclass(frozen=True)
class Document:
    """One document of a file."""

    value: Any
    surprises: tuple[Surprise, ...] = ()


@dataclass(frozen=True)
class _Built:
    """A value, and its size including everything that aliases repeat."""

    value: Any
    values: int
    text: int
    merges: bool = False
    """Whether it is the key that merges mappings (`<<`)."""


@dataclass
class _Open:
    """A list or mapping that is still open."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    values: int = 1
    text: int = 0
    own: set[str] = field(default_factory=set)
    """Keys of the mapping itself, without merged ones."""
    name: str | None = None
    """The key of the next value."""
    merging: bool = False


def load_all(text: str) -> list[Document]:
    """Return the non-empty documents of a text. Raises yaml.YAMLError."""
    if len(text) > MAX_CHARACTERS:
        raise yaml.MarkedYAMLError(problem=f"the file has {len(text):,} characters; {MAX_CHARACTERS:,} are read")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: list[Document] = []
    builder = _Builder()
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder()
        elif isinstance(event, yaml.DocumentEndEvent):
            if builder.root is not None:
                found.append(Document(builder.root, tuple(builder.surprises)))
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            builder.take(event)
    return found


class _Builder:
    """One document, event by event."""

    def __init__(self) -> None:
        self.root: Any = None
        self.surprises: list[Surprise] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, _Built] = {}

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises yaml.MarkedYAMLError."""
        match event:
            case yaml.ScalarEvent():
                self._add(self._scalar(event), event)
            case yaml.AliasEvent():
                self._add(self._alias(event), event)
            case yaml.CollectionStartEvent():
                if len(self._open) >= MAX_DEPTH:
                    raise _wrong(f"nested deeper than {MAX_DEPTH} levels", event)
                made: dict[str, Any] | list[Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
                self._open.append(_Open(made, event.anchor))
            case yaml.CollectionEndEvent():
                closed = self._open.pop()
                built = _Built(closed.value, closed.values, closed.text)
                self._keep(closed.anchor, built)
                self._add(built, event)

    def _scalar(self, event: yaml.ScalarEvent) -> _Built:
        text = event.value
        unquoted = event.tag is None and not event.style
        try:
            value = scalars.plain(text) if unquoted else scalars.tagged(text, event.tag or "")
        except ValueError as error:
            raise _wrong(str(error), event) from None
        here = self._open[-1] if self._open else None
        is_key = here is not None and isinstance(here.value, dict) and here.name is None and not here.merging
        if unquoted and scalars.surprising(text, value):
            path = (*self._path(), str(value).lower()) if is_key else self._path()
            self.surprises.append(Surprise(path, text, value, _line(event), is_key))
        built = _Built(value, 1, len(text), merges=is_key and text == MERGE and unquoted)
        self._keep(event.anchor, built)
        return built

    def _alias(self, event: yaml.AliasEvent) -> _Built:
        built = self._anchors.get(event.anchor or "")
        if built is None:
            inside = any(one.anchor == event.anchor for one in self._open)
            why = "stands for a value that contains itself" if inside else "stands for nothing that came before"
            raise _wrong(f"*{event.anchor} {why}", event)
        return built

    def _keep(self, anchor: str | None, built: _Built) -> None:
        if anchor is not None:
            self._anchors[anchor] = built

    def _path(self) -> Path:
        steps = (one.name if isinstance(one.value, dict) else len(one.value) for one in self._open)
        return tuple(step for step in steps if step is not None)

    def _add(self, built: _Built, event: yaml.Event) -> None:
        if not self._open:
            self.root = built.value
            return
        here = self._open[-1]
        here.values += built.values
        here.text += built.text
        # Open collections count too, so that a document is refused in its middle, not at its end.
        if sum(one.values for one in self._open) > MAX_VALUES or sum(one.text for one in self._open) > MAX_TEXT:
            raise _wrong("aliases (*name) repeat more than an object can hold: write out what is meant", event)
        if isinstance(here.value, list):
            here.value.append(built.value)
        elif here.merging:
            self._merge(here, built, event)
        elif here.name is not None:
            here.value[here.name] = built.value
            here.name = None
        elif built.merges:
            here.merging = True
        else:
            here.name = self._named(here, built, event)

    def _named(self, here: _Open, built: _Built, event: yaml.Event) -> str:
        try:
            name = scalars.key(built.value)
        except ValueError as error:
            raise _wrong(str(error), event) from None
        if name in here.own:
            raise _wrong(f"key {name!r} appears twice, and kubectl would take the last one", event)
        here.own.add(name)
        return name

    def _merge(self, here: _Open, built: _Built, event: yaml.Event) -> None:
        here.merging = False
        several = built.value if isinstance(built.value, list) else [built.value]
        if not all(isinstance(one, dict) for one in several):
            raise _wrong("<< merges mappings, and this is not one", event)
        assert isinstance(here.value, dict)
        for one in reversed(several):
            here.value.update(one)


def _wrong(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"{problem} (line {_line(event)})")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
