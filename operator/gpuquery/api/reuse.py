"""`spec.reuse`: when the commit of an earlier job counts as this job's result, and what became of that."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gpuquery.api.ages import DURATION, seconds
from gpuquery.api.output import OutputMode
from gpuquery.api.schema import Lenient, Model

WHOLE = (OutputMode.OVERWRITE, OutputMode.ERROR_IF_EXISTS)
"""Modes after which the table holds the rows of one job and no others."""
MAX_DIFFERS = 300
"""Characters of what differs."""


class Reuse(Model):
    """Lets an earlier commit count as the result, if it is the same query over the same inputs. Off by default."""

    max_age: Annotated[str, Field(min_length=2, max_length=6, pattern=DURATION)]
    """How old that commit may be: `90s`, `30m`, `24h`, `7d`."""
    deterministic: bool | None = None
    """Declares whether the query gives the same rows for the same inputs and parameters each time. True of Python: it
    asks for no time, no random numbers, no network and no files. True of SQL: where rows tie by an ORDER BY, the data
    has no ties, or any of them will do. Left out: SQL is looked into, and Python is not reused."""

    @property
    def seconds(self) -> int:
        """`max_age` in seconds."""
        return seconds(self.max_age)


class ReuseStatus(Lenient):
    """Whether an earlier commit was reused, or the first thing that kept it from that."""

    reused: bool = False
    """Whether it was."""
    job: Annotated[str, Field(max_length=512)] = ""
    """Namespace and name of the job that committed what the table holds; empty if there is none."""
    commit: Annotated[str, Field(max_length=64)] = ""
    """Its version or snapshot, in words."""
    differs: Annotated[str, Field(max_length=MAX_DIFFERS)] = ""
    """The first thing that differs, or why nothing can be reused; empty if it was."""
