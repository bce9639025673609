"""Failures of a Dask cluster: what the end of a process and exceptions of Dask mean for the attempt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure, Reach
from gpuquery.runner.failures import native, obituary
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOST = (
    "KilledWorker", "CommClosedError", "NoValidWorkerError", "NoWorkerError", "ClosedClientError", "CancelledError",
)  # fmt: skip
"""Exceptions of distributed for a process or a connection that is gone."""
ENDED = "gpuquery: a Dask worker ended: "
"""How the line begins by which a nanny reports the end of its worker."""
_SIGNAL = re.compile(r"signal (\d+)")
_TAIL = 1200
"""Characters of the last lines of a process."""
_SAID = re.compile(r"^\S+ - |^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ - ")


def line_of(worker: str, status: int) -> str:
    """Return the line in which a nanny reports that its worker ended; `ended` reads it."""
    return f"{ENDED}{worker}: {obituary.signal_name(status) if status < 0 else f'exit code {status}'}\n"


def ended(what: str, status: int, tail: Sequence[str], *, oom_killed: bool) -> JobError:
    """Return why a process of Dask ended before its time.

    `what` names it, `status` is its exit code (negative: the signal), `tail` its last lines. The end of a worker is in
    the last lines of its nanny.
    """
    line_of_end = next((line.removeprefix(ENDED) for line in reversed(tail) if line.startswith(ENDED)), "")
    of, _, how = line_of_end.rpartition(": ")
    if line_of_end:
        what = f"the Dask worker {of}"
        found = _SIGNAL.search(how)
        status = -int(found[1]) if found else int(how.rpartition(" ")[2])
    if oom_killed and (status < 0 or not line_of_end):
        return JobError(*obituary.out_of_memory(what))
    lines = [line for line in tail if not line.startswith(ENDED)]
    if status == -6 and (last_words := native.last_words("\n".join(lines))):
        return JobError(last_words[0], f"{what} was ended by its own native code: {redact(last_words[1])}")
    if status < 0:
        return JobError(
            Failure.WORKER_LOST, f"{what} died of {obituary.signal_name(status)}{obituary.last(lines, _TAIL)}"
        )
    # The last line that names a cause; what processes say about the end of others is none.
    for line in reversed(lines):
        known = native.recognise(line)
        if known is not None and known.failure.reach is Reach.CAUSE:
            words = redact(_SAID.sub("", line.strip()))[:400].rstrip(".: ")
            return JobError(known.failure, f"{what} ended with exit code {status}: {words}: {known.way_out}")
    return JobError(Failure.WORKER_LOST, f"{what} ended with exit code {status}{obituary.last(lines, _TAIL)}")


def lost(exc: BaseException) -> JobError | None:
    """Return WorkerLost for an exception of Dask that means a lost process or connection; else None."""
    seen: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in seen:
        seen.append(one)
        names = {kind.__name__ for kind in type(one).__mro__}
        if names.intersection(_LOST) or any(name in said(one) for name in _LOST[:2]):
            text = redact(said(one).splitlines()[0])[:400]
            return JobError(
                Failure.WORKER_LOST, f"a process of the Dask cluster was lost: {type(one).__name__}: {text}"
            )
        one = one.__cause__ or one.__context__
    return None
