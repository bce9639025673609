"""Visible: a log in which everything can be seen, whoever wrote the words that stand in it."""

from __future__ import annotations

import logging

from gpuquery.api.text import clean


class Visible(logging.Formatter):
    """Formats as another formatter does; a record's second line and those after it do not begin at the margin."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        return clean(self._inner.format(record))


def visible() -> None:
    """Have every handler of this process's log write so."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Visible(handler.formatter or logging.Formatter()))
