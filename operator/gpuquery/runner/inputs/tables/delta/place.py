"""Where a Delta table is, how its log is read, and how what is wrong with it is said."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Store

LOG = "_delta_log/"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SAME = {"s3a": "s3", "s3n": "s3", "wasbs": "abfss", "abfs": "abfss"}
"""Schemes of Hadoop for stores that we name otherwise."""


@dataclass(frozen=True)
class Table:
    """The folder of a table."""

    item: Input
    access: StoreAccess
    store: Store

    @property
    def root(self) -> str:
        """Its URI, without a slash at its end."""
        return self.item.places[0].rstrip("/")

    def refused(self, text: str) -> JobError:
        """Return InvalidInput with the names of the input and of the table."""
        return JobError(Failure.INVALID_INPUT, f'input "{self.item.name}": Delta table {self.root}: {text}')

    def place_of(self, path: str) -> str:
        """Return the URI of a path of the log, which is relative to the table or absolute, and percent-encoded.

        Raises JobError for a store that is not known.
        """
        if not _SCHEME.match(path):
            decoded = unquote(path)
            return f"file://{decoded}" if decoded.startswith("/") else f"{self.root}/{decoded}"
        parts = urlsplit(path)
        scheme = _SAME.get(parts.scheme, parts.scheme)
        # urlsplit would take a question mark or a hash for the end of the path.
        rest = unquote(path.partition(":")[2].removeprefix("//"))
        uri = f"{scheme}://{rest}"
        try:
            stores.of(uri)
        except JobError as exc:
            raise self.refused(
                f"the log names the file {clean(path, 300)}, which is in a store that cannot be read ({exc.message}): "
                "make a deep clone of the table, and read that"
            ) from None
        return uri


def opened(item: Input, access: StoreAccess) -> Table:
    """Open the folder of a table; looks at nothing."""
    uri = item.places[0].rstrip("/")
    place = stores.locate(uri)
    # The store of a table is the one with a listing that has times, and with reads that are tried again.
    patient, _ = stores.of(uri).table(place, access, staging="_staging", stop=threading.Event())
    return Table(item, access, patient)
