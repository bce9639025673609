"""What the ranks of a query agree on, gate by gate: that all run the same plan, what each has staged, what stands.

Ranks that run different plans wait for each other forever, or mix rows that do not belong together; so fingerprints of
the plans are compared before any of them runs. Index 0 alone asks the output, and alone commits.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.status import OutputStatus
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.keep_failed import Kept
from gpuquery.runner.output.sink import Totals
from gpuquery.runner.query.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.runner.engines import Ranks

PLAN_SECONDS = 1800.0
"""For the slowest process to open the inputs and plan: an outage of the store is waited for, and index 0 sweeps what
dead attempts have left, and checks footers."""
STAGED_SECONDS = 7 * 86_400.0
"""For the slowest process to run the query. A query may take hours, and whether a process is alive its heartbeats tell;
this only bounds what nothing else does."""
DONE_SECONDS = 6 * 3600.0
"""For index 0 to judge, or to commit and publish: each file takes a request, and there may be hundreds of thousands."""
ADVANCE_SECONDS = 1.0
"""Between two words of a process that it works."""
MAX_MESSAGE = 2000
MAX_FACTS = 16_384
"""Bytes of one process's facts; 32 KiB fit through a gate."""
MAX_NAMED = 8
"""Processes that a message names."""


@dataclass(frozen=True)
class Word:
    """What one process has to say before the query runs: one of these."""

    plan: Fingerprint | None = None
    """The plan that it would run."""
    committed: OutputStatus | None = None
    """The commit that stands already; only index 0 asks for it."""
    failure: JobError | None = None
    """Why it cannot run."""

    def to_json(self) -> dict[str, Any]:
        """As it goes through the gate."""
        return {
            "plan": self.plan.value() if self.plan else None,
            "committed": self.committed.model_dump(mode="json") if self.committed else None,
            "failure": [self.failure.failure.value, self.failure.message[:MAX_MESSAGE]] if self.failure else None,
        }


def inputs(ranks: Ranks, told: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return what index 0 tells of the inputs that it has resolved; None if it has resolved none.

    Index 0 gives it, or None if it has failed or nothing needs to run; the others give None.
    """
    found = ranks.gate("inputs", dict(told) if told else None, seconds=PLAN_SECONDS)[0]
    return {str(key): str(value) for key, value in found.items()} if found else None


def before_run(ranks: Ranks, word: Word) -> OutputStatus | None:
    """Return the commit that stands already, so that nobody runs; None if all may run.

    Raises JobError: what the first process has failed with, or PlansDiffer. All processes come to the same result.
    """
    by_rank = ranks.gate("plan", word.to_json(), seconds=PLAN_SECONDS)
    if committed := by_rank[0]["committed"]:
        return OutputStatus.model_validate(committed)
    for index, one in enumerate(by_rank):
        if one["failure"]:
            failure, message = one["failure"]
            if index == ranks.index and word.failure is not None:
                raise word.failure
            raise JobError(Failure(failure), message, process=index)
    _check([Fingerprint.of_value(one["plan"]) for one in by_rank])
    return None


class Noted:
    """The processes of a query, with what this one has noted of itself kept for the final report."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.index, self.size = ranks.index, ranks.size
        pod, gpu = os.environ.get("GPUQUERY_POD_NAME"), os.environ.get("CUDA_VISIBLE_DEVICES")
        self.facts: dict[str, Any] = {name: value for name, value in (("pod", pod), ("device", gpu)) if value}

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        """Wait at a gate."""
        return self._ranks.gate(name, value, seconds=seconds)

    def note(self, **facts: Any) -> None:
        """Tell facts; the last word on each counts."""
        self.facts |= facts
        self._ranks.note(**facts)

    def advance(self) -> None:
        """Tell that this process has come further."""
        self._ranks.advance()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Take what is done meanwhile for progress: it waits for no other process, and its own limits bound it."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(ADVANCE_SECONDS):
                self.advance()

        threading.Thread(target=tell, name="working", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def bounded(self) -> dict[str, Any]:
        """Return the facts, as far as they go through a gate: the longest are left out first."""
        kept = dict(sorted(self.facts.items(), key=lambda item: len(json.dumps(item[1]))))
        while len(json.dumps(kept)) > MAX_FACTS:
            kept.popitem()
        return kept


@dataclass(frozen=True)
class Share:
    """What one process has done for the result."""

    totals: Totals
    facts: Mapping[str, Any]
    """What it has noted of itself: communicator's rank, GPU, bytes spilled, counters of the engine."""

    def told(self, index: int) -> dict[str, Any]:
        """As it stands in the final report."""
        return {"index": index, **asdict(self.totals), **self.facts}


def before_commit(ranks: Noted, totals: Totals) -> Sequence[Share]:
    """Tell what this process has staged; returns what each has, by index."""
    by_rank = ranks.gate("staged", {**asdict(totals), "facts": ranks.bounded()}, seconds=STAGED_SECONDS)
    return [Share(Totals(int(one["rows"]), int(one["files"]), int(one["bytes"])), one["facts"]) for one in by_rank]


@dataclass(frozen=True)
class Verdict:
    """That a result is not as expected, as index 0 tells the others, who keep their share of it."""

    count: str
    """How many expectations do not hold, in words."""
    told: str
    """Which ones, and why."""
    where: str
    """URI of the folder that gets the rows."""
    until: str
    """How long they stay, in words."""


def verdict(ranks: Ranks, found: Verdict | None) -> Verdict | None:
    """Wait for index 0 to judge; None: all expectations hold. The others give None and get its verdict."""
    told = asdict(replace(found, told=clean(found.told, MAX_MESSAGE))) if found else None
    first = ranks.gate("judged", told, seconds=DONE_SECONDS)[0]
    return Verdict(**{name: str(value) for name, value in first.items()}) if first else None


def kept(ranks: Ranks, own: Kept) -> Sequence[Kept]:
    """Wait until each has kept its rows; returns what they have kept, by index."""
    by_rank = ranks.gate("kept", asdict(own), seconds=DONE_SECONDS)
    return [Kept(int(one["rows"]), int(one["files"]), str(one["wrong"])) for one in by_rank]


def after_commit(ranks: Ranks, committed: OutputStatus | None) -> OutputStatus:
    """Wait until index 0 has committed and published, which tells what; the others give None and get it."""
    by_rank = ranks.gate("done", committed.model_dump(mode="json") if committed else None, seconds=DONE_SECONDS)
    return OutputStatus.model_validate(by_rank[0])


def _check(found: Sequence[Fingerprint]) -> None:
    """Raise JobError(PlansDiffer) that says who differs, and in what source if it is one."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.digest] = counts.get(one.digest, 0) + 1
    if len(counts) < 2:
        return
    if len(counts) == len(found) > 2:
        raise JobError(
            Failure.PLANS_DIFFER,
            f"each of the {len(found)} processes made another plan of the query: {_difference(found[0], found[1], 1)}",
        )
    # The most common plan is taken for the right one; with a tie, index 0's.
    usual = found[max(range(len(found)), key=lambda n: (counts[found[n].digest], -n))]
    others = [n for n, one in enumerate(found) if one.digest != usual.digest]
    named = ", ".join(str(n) for n in others[:MAX_NAMED]) + (" and others" if len(others) > MAX_NAMED else "")
    raise JobError(
        Failure.PLANS_DIFFER,
        f"process{'es' if len(others) > 1 else ''} {named} of {len(found)} made another plan of the query than the "
        f"others: {_difference(usual, found[others[0]], others[0])}",
        process=others[0],
    )


def _difference(usual: Fingerprint, other: Fingerprint, index: int) -> str:
    for mine, theirs in zip(usual.sources, other.sources, strict=False):
        if mine != theirs:
            if mine.label == theirs.label:
                return f"not the same {mine.label}"
            return f"{theirs.label} in process {index}, {mine.label} in the others"
    if len(usual.sources) != len(other.sources):
        return f"{len(other.sources)} sources in process {index}, {len(usual.sources)} in the others"
    return (
        "the same sources, but other expressions or another order of the steps; a Python query must give the same plan "
        "in every process: no random numbers, no clock, no host names, no order of a set"
    )
