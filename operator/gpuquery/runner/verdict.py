"""The verdict on a result: index 0 judges it for all, and with `output.keepFailed` each rank keeps its share.

With `keepFailed` the ranks meet twice more before anything is committed: to hear whether all expectations hold, and, if
one does not, when each has kept its rows. Then all of them fail with the same words.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api import ages
from gpuquery.api.text import clean
from gpuquery.runner import agreement
from gpuquery.runner.agreement import Share, Verdict
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.output.expect import NotAsExpectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.agreement import Noted
    from gpuquery.runner.failures.errors import JobError
    from gpuquery.runner.output.keep_failed import Kept
    from gpuquery.runner.output.sink import Sink

MAX_PLACE = 1024
"""Characters of a folder's URI; that of an Iceberg table is its catalog's word."""


def reach(
    sink: Sink, ranks: Noted, shares: Sequence[Share], keep_failed: str | None, foretell: Callable[[JobError], None]
) -> None:
    """Go on if all expectations hold; raise what `Sink.judge` raises, with the place of what was kept.

    `foretell` gets the verdict of a process that is alone before it keeps anything: the job has failed then, whatever
    becomes of the process.
    """
    wrong: NotAsExpectedError | None = None
    if ranks.index == 0:
        try:
            with ranks.working():  # it reads what all ranks have kept
                sink.judge([share.totals for share in shares])
        except NotAsExpectedError as exc:
            if keep_failed is None:
                raise
            wrong = exc
            if ranks.size == 1:  # else it would end the others, who have rows to keep
                foretell(exc)
    if keep_failed is not None:
        _meet(sink, ranks, shares, keep_failed, wrong)


def _meet(
    sink: Sink, ranks: Noted, shares: Sequence[Share], keep_failed: str, wrong: NotAsExpectedError | None
) -> None:
    mine = None
    if wrong is not None:
        until = datetime.now(UTC) + timedelta(seconds=ages.seconds(keep_failed))
        where = clean(redact(sink.kept_place), MAX_PLACE)
        mine = Verdict(wrong.count, wrong.told, where, f"{until:%Y-%m-%d %H:%M} UTC")
    verdict = agreement.verdict(ranks, mine)
    if verdict is None:
        sink.forget()
        return
    with ranks.working():
        own = sink.keep()
    kept = agreement.kept(ranks, own)
    why = next((one.wrong for one in kept if one.wrong), "")
    if not why and (found := sum(one.rows for one in kept)) != (rows := sum(one.totals.rows for one in shares)):
        why = f"{found:,} of {rows:,} rows are there"
    if why and ranks.index == 0:
        sink.unkeep()
    raise NotAsExpectedError(verdict.count, verdict.told, _words(verdict, kept, why), process=None if wrong else 0)


def _words(verdict: Verdict, kept: Sequence[Kept], why: str) -> str:
    if why:
        return f"its rows could not be kept ({why})"
    rows, files = sum(one.rows for one in kept), sum(one.files for one in kept)
    if not files:
        return "it has no rows to keep"
    many = "file" if files == 1 else "files"
    return f"its {rows:,} rows are kept in {verdict.where} until {verdict.until} ({files:,} {many})"
