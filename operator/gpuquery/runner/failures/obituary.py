"""Obituary: why a process of the query ended without a report, by its exit code and its last lines.

Every supervisor writes it: of one process, of the ranks of a pod, of Dask's processes. Only the standard library and
the failure classes are imported.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import native, oom
from gpuquery.runner.failures.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

UNCOMMITTED = "before the result was committed"
MOMENTS = {
    "committing": "while the commit record was being written: the next attempt finds out whether it stands",
    "publishing": "after the commit, before all its files were published: the next attempt publishes the rest",
    "done": "before it could leave its report: the next attempt finds out how it ended",
}
"""What it means to end in a phase in which the result may be committed; in the last one, process 0 of a set waits for
the others to hear of it. The attempt is retried: only the next one can find out whether the commit stands."""
TAIL = 1800
"""Most characters of the last lines in a message."""
_UNFIT = re.compile(
    r"(?:ModuleNotFoundError|ImportError|AttributeError|NameError|SyntaxError|TypeError): .+|No module named \S+"
)
"""How Python ends a process whose modules are not there, or are of another version."""
_OWN = re.compile(r"\d{4}-\d\d-\d\dT\S+Z (?:\+[\d.]+s|supervisor:) ")
"""How the runner's own lines begin: they report what it did before."""


def ended(
    what: str, status: int, tail: Sequence[str], *, oom_killed: bool, phase: str = "", python: bool = False
) -> tuple[Failure, str]:
    """Return class and message for a process that left no report.

    `what` names it, `status` is its exit code (negative: the signal). `phase` is the last that it reported, empty if it
    did not reach the query; `python` says whether that is the author's own code.
    """
    if status < 0 and oom_killed:
        return out_of_memory(what)
    if (last_words := native.last_words("\n".join(tail))) is not None:
        return last_words[0], redact(last_words[1])
    if status < 0:
        return Failure.WORKER_LOST, f"{what} died of {signal_name(status)}{last(tail)}"
    if not phase and (missing := _unfit(tail)):
        return missing
    message = f"{what} ended with exit code {status} and left no report"
    if python and phase in MOMENTS:
        return Failure.WORKER_LOST, f"{what} ended with exit code {status} {MOMENTS[phase]}{last(tail)}"
    if python and phase:
        # The runner's own ways to end all leave one.
        return Failure.USER_ERROR, (
            f"{message}: query.python, or a library that it calls, has ended the process (os._exit, exit() of native "
            f"code): return a LazyFrame from query(), or raise an exception{last(tail)}"
        )
    return Failure.INTERNAL_ERROR, f"{message}{last(tail)}"


def out_of_memory(what: str) -> tuple[Failure, str]:
    """Return class and message for a process that the kernel has killed for memory."""
    limit = oom.limit()
    return Failure.HOST_OUT_OF_MEMORY, (
        f"the kernel killed {what}: the pod needed more memory than its limit{limit and f' of {limit}'}: raise "
        "workers.resources.limits.memory or make the query's intermediate results smaller"
    )


def last(tail: Sequence[str], most: int = TAIL) -> str:
    """Return the last lines, to be appended to a sentence."""
    text = "\n".join(redact(line) for line in tail if line.strip() and not _OWN.match(line))
    return f"; its last lines:\n{text if len(text) <= most else '...' + text[-most:]}" if text else ""


def signal_name(status: int) -> str:
    """Name the signal of a negative exit code."""
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def _unfit(tail: Sequence[str]) -> tuple[Failure, str] | None:
    """Return what the image lacks if the query process could not even begin."""
    line = next((line for line in reversed(tail) if line.strip()), "")
    found = _UNFIT.search(line)
    if found is None:
        return None
    words = redact(found[0])[:400]
    if driver := native.recognise(words):  # a library of the driver
        return driver.failure, f"the query process could not start: {words}: {driver.way_out}"
    return Failure.INVALID_PLAN, (
        f"the query process could not start: {words}: the image lacks a package that the runner needs, or has another "
        "version of it: leave runtime.image out, or set it to a runtime image of the operator's version"
    )
