"""Reuse: whether what the table holds now is the result of this query already.

The newest commit names its job, and that job's receipt says what was run. Everything that decides a result must be the
same (api/differences.py); the first thing that is not is told. Table and receipt are written by whoever may write to
the table, so this is as trustworthy as its rows are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuquery.api.differences import deciding
from gpuquery.api.reuse import MAX_DIFFERS, WHOLE, ReuseStatus
from gpuquery.api.text import clean
from gpuquery.plan.plan import DaskWay
from gpuquery.runner.output import receipt as receipts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from gpuquery.api.receipt import Receipt
    from gpuquery.api.reuse import Reuse
    from gpuquery.api.status import OutputStatus
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.inputs import Resolved
    from gpuquery.runner.output.sink import Sink
    from gpuquery.runner.output.tables.base import Live, Table
    from gpuquery.runner.query.queries import Query

MAX_SKEW = 300.0
"""Seconds by which the clocks of two pods may differ."""
NOTHING = "the output is empty, is not the work of one job, or has lost files"
ELSEWHERE = "the query runs on an external Dask cluster, and nobody knows here which software is there"
UNTOLD = "its receipt does not tell all that decides a result: a later attempt wrote it, or another version"
DECLARED = "reuse.deterministic: false says that the query may give other rows each time"


def repeatable(reuse: Reuse, unsettled: str, clock: str, inputs: Mapping[str, Resolved]) -> str:
    """Return why this query cannot be compared with an earlier run at all; empty if it can.

    `unsettled` is what the query says of itself, `clock` a function of the current time in an expectation.
    """
    if reuse.deterministic is False:
        return DECLARED
    if unsettled:
        return f"the query may give other rows each time: {unsettled}"
    if clock:
        return f"output.expect asks for {clock}, which is another value in each job"
    for one in inputs.values():
        if not one.snapshot and any(not file.version for file in one.files):
            return f"input {one.item.name}: its store does not tell when a file was replaced"
    return ""


def looked(
    plan: Plan, query: Query, sink: Sink, opened: tuple[Mapping[str, pl.LazyFrame], Mapping[str, Resolved]]
) -> tuple[OutputStatus | None, ReuseStatus]:
    """Look whether the table holds the result of a plan with `reuse`; `opened` are the frames and the inputs."""
    assert plan.reuse is not None
    frames, inputs = opened
    if plan.dask is not None and plan.dask.way is DaskWay.ATTACH:
        return None, ReuseStatus(differs=ELSEWHERE)
    unsettled = query.unsettled(frames, inputs, declared=plan.reuse.deterministic is True)
    if why := repeatable(plan.reuse, unsettled, sink.clock, inputs):
        return None, ReuseStatus(differs=clean(why, MAX_DIFFERS))
    return sink.earlier(receipts.draft(plan, query, inputs), plan.reuse)


def found(table: Table, draft: Receipt, reuse: Reuse) -> tuple[OutputStatus | None, ReuseStatus]:
    """Return the commit that is the result of the query that `draft` is of, if the table holds it; and what to tell.

    Raises JobError of the store.
    """
    live = table.live()
    if live is None:
        return None, ReuseStatus(differs=NOTHING)
    told = ReuseStatus(job=f"{live.job.namespace}/{live.job.name}", commit=live.status.commit)
    if why := _differs(table, live, draft, reuse):
        return None, told.model_copy(update={"differs": clean(why, MAX_DIFFERS)})
    return live.status, told.model_copy(update={"reused": True})


def _differs(table: Table, live: Live, draft: Receipt, reuse: Reuse) -> str:
    then = receipts.read(table.hurried, live.job.uid)
    if isinstance(then, str):
        return f"{live.status.commit} has no receipt: {then}"
    if then.job.uid != live.job.uid or then.job.shown != f"{live.job.namespace}/{live.job.name}":
        return f"{live.status.commit} is not what the receipt of its job is of: that is of job {then.job.shown}"
    if not receipts.is_of_commit(then, live.status):
        return f"{live.status.commit} is not what the receipt of its job is of, {then.commit}"
    if then.output.get("mode") not in WHOLE:
        return f"output.mode: {then.output.get('mode')} then, so the table holds other rows too"
    if first := next(deciding(then, draft), None):
        return first.text
    if then.key != draft.key:
        return UNTOLD
    created = live.created if live.created.tzinfo else live.created.replace(tzinfo=UTC)
    age = (datetime.now(UTC) - created).total_seconds()
    if age < -MAX_SKEW:
        return f"it was committed in the future, at {live.created:%Y-%m-%d %H:%M:%S} UTC: the clocks of nodes differ"
    if age > reuse.seconds:
        return f"it was committed at {live.created:%Y-%m-%d %H:%M:%S} UTC, more than {reuse.max_age} ago"
    return ""
