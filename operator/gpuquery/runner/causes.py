"""The cause of a failed query, for its author: which error is told for what was raised, and which file is behind it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.failures.words import named
from gpuquery.runner.output import scratch
from gpuquery.runner.query import python_query
from gpuquery.runner.sizing import reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.query import queries

UNEXPLAINED = frozenset(
    {
        Failure.USER_ERROR, Failure.INVALID_INPUT, Failure.INTERNAL_ERROR, Failure.STORAGE_AUTH,
        Failure.STORAGE_UNAVAILABLE,
    }
)  # fmt: skip
"""Classes of errors of a running query that a file of an input may be behind."""


@dataclass(frozen=True)
class Known:
    """What is known of a query that has failed."""

    plan: Plan
    phase: str
    """What was done."""
    query: queries.Query | None
    inputs: Mapping[str, inputs.Resolved]
    frame: pl.LazyFrame | None
    working: Callable[[], AbstractContextManager[None]]
    """Tells the other ranks that this one is at work."""


def explained(exc: BaseException, known: Known) -> JobError:
    """Return the error that an exception means; whatever the exception does to who looks at it."""
    try:
        return _classified(exc, known)
    except BaseException as other:
        return JobError(Failure.INTERNAL_ERROR, f"{named(exc)} (and while that was looked at: {named(other)})")


def _classified(exc: BaseException, known: Known) -> JobError:
    # The sink runs the query, so it has classified what the query raised; the raised thing says more to its author.
    cause = exc.__cause__ if isinstance(exc, JobError) else None
    raised = cause if cause is not None and not isinstance(cause, JobError) else exc
    if isinstance(raised, JobError):
        return raised
    if error := scratch.full(raised):
        return error
    if python_query.is_users(raised.__traceback__):
        return python_query.explained(raised)
    if located := inputs.located(raised, known.inputs, known.plan.store):
        return located
    if known.query is not None and (message := known.query.failed(raised)):
        return JobError(Failure.USER_ERROR, f"the query failed: {message}")
    error = classify(exc, known.phase)
    if blamed := _blamed(raised, error, known):
        return blamed
    if error.failure is Failure.USER_ERROR:
        return JobError(error.failure, f"the query failed: {first_paragraph(raised)}")
    return error


def _blamed(raised: BaseException, error: JobError, known: Known) -> JobError | None:
    """Return the error that names the file of an input, if reading one has failed."""
    if error.failure not in UNEXPLAINED:
        return None
    with known.working():  # files are looked at one by one, for less than a minute
        return inputs.blamed(raised, known.inputs, known.plan.store, _columns(known))


def _columns(known: Known) -> Mapping[str, Sequence[str]] | None:
    """Return the columns that the query reads, by input; None if that cannot be seen."""
    with contextlib.suppress(Exception):
        places = {name: [file.uri for file in one.files] for name, one in known.inputs.items()}
        return None if known.frame is None else reads.columns(known.frame, places)
    return None
