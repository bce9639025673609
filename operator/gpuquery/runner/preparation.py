"""What an attempt does before its query runs: look at output and inputs, plan the query and check it.

Every rank does so at the same time; what needs to be asked only once is index 0's, and all go on only if all can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.status import InputStatus, PreflightStatus
from gpuquery.plan.plan import Plan, Processes
from gpuquery.runner import agreement, inputs
from gpuquery.runner.agreement import Word
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import storable
from gpuquery.runner.output import reuse as reusing
from gpuquery.runner.preflight.checks import Checks, Opened
from gpuquery.runner.query import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.api.reuse import ReuseStatus
    from gpuquery.api.status import OutputStatus
    from gpuquery.runner.output.sink import Sink
    from gpuquery.runner.progress import Tracker
    from gpuquery.runner.query import queries


@dataclass(frozen=True)
class Ready:
    """What could be found out before the query runs."""

    found: PreflightStatus
    frame: pl.LazyFrame | None = None
    """The planned query; None if it need not run."""
    committed: OutputStatus | None = None


class Preparation:
    """The preparation of one rank; what it has found out so far can be read at any time."""

    def __init__(
        self, plan: Plan, tracker: Tracker, ranks: agreement.Noted, explained: Callable[[BaseException], JobError]
    ) -> None:
        """`explained` says what an exception means, for the other ranks."""
        self._plan = plan
        self._tracker = tracker
        self._ranks = ranks
        self._explained = explained
        self.warnings: tuple[str, ...] = ()
        """What the query's author should know."""
        self.varies = ""
        """What another run over the same inputs may change."""
        self.reuse: ReuseStatus | None = None
        """With `spec.reuse`: whether an earlier commit is the result, or what differs."""
        self.inputs: Mapping[str, inputs.Resolved] = {}
        self.frame: pl.LazyFrame | None = None
        """The planned query."""

    def agreed(self, checks: Checks, query: queries.Query | None, sink: Sink) -> Ready:
        """Prepare, and go on only if all ranks can, and will run the same; raises what the first of them has failed
        with."""
        ranks = self._ranks
        if ranks.size == 1:
            return self._prepared(checks, query, sink)
        ready = None
        try:
            ready = self._prepared(checks, query, sink)
            word = Word(plan=self._fingerprint(ready.frame), committed=ready.committed)
        except BaseException as exc:
            # What another rank has found counts only if index 0 does not find that nothing needs to run.
            word = Word(failure=self._explained(exc))
        committed = agreement.before_run(ranks, word)
        if committed is not None or ready is None:
            return Ready(PreflightStatus(polars=pl.__version__), committed=committed)
        return ready

    def _prepared(self, checks: Checks, query: queries.Query | None, sink: Sink) -> Ready:
        """Look at output and inputs, plan the query and check it; index 0 speaks for all where that is enough."""
        first = self._ranks.index == 0
        opened = self._opened(checks, sink, query) if first else self._shared(sink)
        if opened.committed:
            return Ready(checks.status, committed=opened.committed)
        self.inputs = opened.inputs
        self._tracker.resolved(self.read())
        if first and (earlier := self._earlier(query, sink, opened)) is not None:
            return Ready(checks.status, committed=earlier)
        if query is None:
            return Ready(checks.judge(None))
        self.warn(tuple(text for one in opened.inputs.values() for text in one.warnings))
        planned = query.plan(opened.frames, opened.inputs)
        self.warn(planned.warnings)
        self.varies = planned.varies
        self.frame = planned.frame
        sink.check_schema(planned.frame.collect_schema())
        found = checks.judge(planned) if first else checks.status
        if self._plan.leaves_inputs and opened.inputs:
            found = checks.leave(sink, planned)
        return Ready(found, planned.frame)

    def _earlier(self, query: queries.Query | None, sink: Sink, opened: Opened) -> OutputStatus | None:
        """Return the commit of an earlier job that is the result already, if the plan may reuse one."""
        if self._plan.reuse is None:
            return None
        earlier = None
        if query is not None:
            earlier, self.reuse = reusing.looked(self._plan, query, sink, (opened.frames, opened.inputs))
            self._tracker.log(f"reuse: {self.reuse.differs or 'the result is there already'}")
        if earlier is None:
            sink.check_mode()
        return earlier

    def _opened(self, checks: Checks, sink: Sink, query: queries.Query | None) -> Opened:
        """Look at output and inputs; the other ranks read the same files in the same way."""
        if self._ranks.size == 1:
            return checks.open(sink)
        told = None
        try:
            opened = checks.open(sink)
            if not opened.committed:
                if query is not None and not sink.exists:  # a catalog makes the folder with the table
                    sink.check_schema(query.plan(opened.frames, opened.inputs).frame.collect_schema())
                told = sink.share(inputs.to_json(opened.inputs))
        finally:
            agreement.inputs(self._ranks, told)
        return opened

    def _shared(self, sink: Sink) -> Opened:
        """Take over the inputs that index 0 has resolved."""
        told = agreement.inputs(self._ranks, None)
        if told is None:  # index 0 says why, or that the result is there already
            raise JobError(Failure.INTERNAL_ERROR, "index 0 has resolved no inputs")
        resolved = inputs.from_json(sink.shared(told), self._plan.inputs)
        return Opened(resolved, inputs.frames(resolved, self._plan.store))

    def _fingerprint(self, frame: pl.LazyFrame | None) -> fingerprint.Fingerprint | None:
        """What all ranks must have alike; with a Dask cluster only index 0's plan runs."""
        if frame is None:
            return None
        if self._plan.processes is Processes.PODS:
            return fingerprint.Fingerprint("", ())
        return fingerprint.fingerprint(frame)

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Tell warnings that were not told before."""
        for warning in map(storable, warnings):
            if warning not in self.warnings:
                self.warnings += (warning,)
                self._tracker.log(f"warning: {warning}")
                self._tracker.warned(self.warnings)

    def read(self) -> tuple[InputStatus, ...]:
        """Say what is read of each input."""
        return tuple(one.told() for one in self.inputs.values())
