"""From a text of another dialect to DuckDB's, and from places in that back to the author's."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.dialects.semantics import Semantics

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.dialects import rewriter
    from gpuquery.runner.query.sql.dialects.places import Mark
    from gpuquery.runner.query.sql.errors import Place


@dataclass(frozen=True)
class Translation:
    """A statement in DuckDB's words."""

    text: str
    setup: tuple[str, ...] = ()
    """What DuckDB has to be told before it binds the text: settings, and macros for functions that go by types."""
    marks: tuple[Mark, ...] | None = None
    """None: the text is the author's own."""
    semantics: Semantics = field(default_factory=Semantics)

    def author_place(self, place: Place | None) -> Place | None:
        """Return where in the author's text a place of `text` comes from."""
        if self.marks is None:
            return place
        from gpuquery.runner.query.sql.dialects import places

        return places.author_place(self.marks, place)


def known(name: str) -> rewriter.Dialect:
    """Return what is known of a dialect."""
    found: rewriter.Dialect = importlib.import_module(f"gpuquery.runner.query.sql.dialects.{name}").DIALECT
    return found


def translated(text: str, name: str) -> Translation:
    """Translate a statement; raises SqlError with the author's places."""
    if name == "duckdb":
        return Translation(text)
    # sqlglot takes a quarter of a second to load: only who needs it waits for it.
    from gpuquery.runner.query.sql.dialects import generator, parser, places, rewriter

    dialect = known(name)
    tree = rewriter.rewrite(parser.read(text, dialect.name), dialect, text)
    made, marks = generator.write(tree)
    if not places.is_free_of_marks(text):
        marks = ()
    setup = (
        "SET GLOBAL default_null_order = 'NULLS_LAST'",  # which sqlglot takes for granted where it writes no order
        *(["SET GLOBAL integer_division = true"] if dialect.integer_division else []),
        *dialect.macros,
    )
    return Translation(made, setup, marks, replace(dialect.semantics, title=dialect.title))
