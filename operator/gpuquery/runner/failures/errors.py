"""The one exception of the runner: a failure with its class, in words for the query's author."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from gpuquery.api.reasons import Failure


class JobError(Exception):
    """An attempt cannot go on. `failure` decides about retries; `message` names the thing and the way out."""

    def __init__(self, failure: Failure, message: str, *, process: int | None = None) -> None:
        """`process` is the index of the process that failed, if this one only passes on its report."""
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.process = process

    def __str__(self) -> str:
        return f"{self.failure}: {self.message}"


def first_paragraph(exc: BaseException) -> str:
    """Return the message of a Polars error without the plan that Polars appends to it."""
    return re.split(r"\n\s*\n|\nThis error occurred|\nResolved plan", said(exc).strip())[0].strip()
