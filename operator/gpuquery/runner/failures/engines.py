"""Failures of the GPU engines: what an exception of cudf-polars, rapidsmpf, RMM, UCX or CUDA means for the job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import native
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import redact
from gpuquery.runner.failures.words import kind, named, said

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRAPPED = re.compile(r"^'cuda' conversion failed: ")
_OPERATIONS = re.compile(r"- (?:NotImplementedError: )?(.+?)(?=\\n|\n|['\"], \[|$)")
MAX_TEXT = 600


def classify_engine(exc: BaseException) -> JobError | None:
    """Return the failure that an exception of a GPU engine stands for; None if it is of another kind.

    What raised it counts more than what came before: an exception's causes and the members of its group are looked at
    only if it says nothing itself.
    """
    for one in _with_causes(exc):
        if isinstance(one, JobError):
            return None
        text = named(one)
        failure = native.recognise(text)
        if failure is None:
            continue
        return JobError(failure, f"{_words(failure, one)}: {native.way_out(failure, text)}")
    return None


def _with_causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception, the members of groups in it, and its causes; what merely happened before is none."""
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        else:
            yield one
        if one.__cause__ is not None:
            waiting.append(one.__cause__)


def _words(failure: Failure, exc: BaseException) -> str:
    text = _WRAPPED.sub("", said(exc)) or kind(exc)
    if failure is Failure.UNSUPPORTED_QUERY:
        operations = list(dict.fromkeys(_OPERATIONS.findall(text)))
        text = f"the GPU engine cannot run this query: {'; '.join(operations) if operations else text}"
    text = redact(text).rstrip(".: ")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " ..."
