"""Where the Delta table of an output is, and how what is wrong with it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Store


@dataclass(frozen=True)
class Target:
    """The folder of a table, `output.uri`."""

    uri: str
    access: StoreAccess
    store: Store

    @property
    def root(self) -> str:
        """Its URI, without a slash at its end."""
        return self.uri.rstrip("/")

    def refused(self, text: str, failure: Failure = Failure.USER_ERROR) -> JobError:
        """Return the failure that names the table."""
        return JobError(failure, f"output: Delta table {self.root}: {text}")
