"""The error of a statement that is refused: what is wrong, where in the text, and the way out.

Plan, rules and compiler know places as offsets; who holds the text makes lines and columns of them (`text`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Place:
    """A range of the author's text, as offsets in characters; `end` is exclusive."""

    start: int
    end: int


class SqlError(Exception):
    """The statement cannot be planned. `message` is for its author, and never quotes the libraries under us."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
