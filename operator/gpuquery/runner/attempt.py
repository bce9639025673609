"""One attempt: from a plan to a report, in the one order in which nothing is paid for in vain.

What needs no I/O is checked first (the release, the query's text, its parameters, the engine), then the output (is it
committed already, does it exist, can the store be trusted), then the inputs' schemas and contracts, the query's plan
and whether the GPU engine can run it, and only then rows move. A preflight ends there, with what it found.

With several ranks, every one of them does so at the same time, but what needs to be asked or done only once is index
0's: the output, the checks, the commit. They meet before they plan (the engine's own communicator), before they run,
before the commit and after it (agreement.py).

The work runs in a thread, so that the main thread stays free for signals: Polars holds its caller until a query is
done.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.receipt import MAX_LISTED, MAX_TEXT
from gpuquery.api.report import Phase, Report
from gpuquery.api.status import InputStatus, OutputStatus, PreflightStatus
from gpuquery.api.text import clean
from gpuquery.api.timing import PROCESS_COMMIT_SECONDS, WITHDRAW_SECONDS
from gpuquery.plan.plan import Plan, Processes, Purpose
from gpuquery.runner import agreement, engines, inputs, later, pulse, verdict
from gpuquery.runner.agreement import Word
from gpuquery.runner.failures import obituary
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.redaction import hidden
from gpuquery.runner.failures.stores import classify, redact
from gpuquery.runner.failures.words import named, said, storable
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.output import reuse as reusing
from gpuquery.runner.output import scratch
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.record import ReadInput
from gpuquery.runner.output.sink import Identity, Sink, Totals
from gpuquery.runner.preflight.checks import Checks, Opened
from gpuquery.runner.query import fingerprint, python_query, queries
from gpuquery.runner.sizing import reads
from gpuquery.runner.stores import reader_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.api.receipt import Receipt
    from gpuquery.api.reuse import ReuseStatus
    from gpuquery.runner.progress import Tracker

SIGNAL_SECONDS = 0.2
"""How late the main thread may learn of a signal that another thread took."""
UNEXPLAINED = frozenset(
    {
        Failure.USER_ERROR, Failure.INVALID_INPUT, Failure.INTERNAL_ERROR, Failure.STORAGE_AUTH,
        Failure.STORAGE_UNAVAILABLE,
    }
)  # fmt: skip
"""Classes of errors of a running query that a file of an input may be behind."""


@dataclass(frozen=True)
class _Ready:
    """What could be found out before the query runs."""

    found: PreflightStatus
    frame: pl.LazyFrame | None = None
    """The planned query; None if it need not run."""
    committed: OutputStatus | None = None


@dataclass(frozen=True)
class Review:
    """A preflight on a machine that will not run the query: it need not hold the plan's release."""

    runs_code: bool
    """Whether a Python query is run, to plan it; else what only that could show is not checked."""


class Attempt:
    """One attempt, or one rank of it; `run` blocks until it has ended, `stop` may be called when `run` was interrupted.

    `on_fault` gets, from any thread, the report that is true should the process die before `run` or `stop` has returned
    its own: while Polars lets go of a query that has failed, a crash must not hide why it did; and while index 0 waits
    for the other ranks to hear of the commit, theirs must not hide that it stands.
    """

    def __init__(
        self,
        plan: Plan,
        tracker: Tracker,
        *,
        ranks: engines.Ranks | None = None,
        review: Review | None = None,
        on_joined: Callable[[], None] | None = None,
        on_fault: Callable[[Report], None] | None = None,
    ) -> None:
        """`ranks` are the processes that run the query together, if there are several.

        `review` says how a machine judges the plan that will not run it. `on_joined` is called when this process can
        exchange rows with the others.
        """
        self._plan = plan
        self._review = review
        self._tracker = tracker
        self._ranks = agreement.Noted(ranks or engines.Alone())
        self._on_joined = on_joined
        self._on_fault = on_fault
        self._gate = threading.RLock()  # a file that the garbage collector closes may tell a fault anywhere
        self._stopping = False
        self._sink: Sink | None = None
        self._query: queries.Query | None = None
        self._frame: pl.LazyFrame | None = None
        self._joined: datetime | None = None
        self._query_started: datetime | None = None
        self._watch = receipts.Stopwatch()
        self._warnings: tuple[str, ...] = ()
        self._varies = ""
        self._reuse: ReuseStatus | None = None
        self._inputs: Mapping[str, inputs.Resolved] = {}
        self._first: JobError | None = None
        self._stands: Report | None = None
        self._report: Report | None = None
        self._done = threading.Event()

    def run(self) -> Report:
        """Run to the end. An exception that a signal handler raises passes through; then call `stop`."""
        later.start(threading.Thread(target=self._work, name="query", daemon=True))
        # Not one long wait: the kernel may hand a signal to a thread that is just being made. Its handler runs in this
        # thread all the same, but nothing wakes it for that.
        while not self._done.wait(SIGNAL_SECONDS):
            pass
        return self._report or self._failed(JobError(Failure.INTERNAL_ERROR, "the attempt ended without a report"))

    def stop(self, why: str) -> Report:
        """Withdraw what was staged and end. A commit that has begun is finished instead."""
        with self._gate:
            self._stopping = True
            first = self._first
            committing = self._tracker.phase in (Phase.COMMITTING, Phase.PUBLISHING)
        if not self._done.is_set():
            self._foretell(self._lost(why))
        if committing:
            self._tracker.log(f"{why}: finishing the commit")
            self._done.wait(PROCESS_COMMIT_SECONDS)
        elif self._sink is not None and not self._done.is_set():
            self._tracker.log(f"{why}: withdrawing what was staged")
            self._withdraw(self._sink.abort)
        if self._report is not None and self._done.is_set():
            return self._report
        return self._stands or self._failed(first or self._lost(why))

    def _lost(self, why: str) -> JobError:
        return JobError(Failure.WORKER_LOST, f"{why} {obituary.MOMENTS.get(self._tracker.phase, obituary.UNCOMMITTED)}")

    def _withdraw(self, abort: Callable[[], None]) -> None:
        def quietly() -> None:
            try:
                abort()
            except Exception as exc:
                self._tracker.log(f"could not withdraw: {redact(said(exc))}")

        # In a thread of its own: a store that hangs must not hold the pod.
        thread = threading.Thread(target=quietly, name="abort", daemon=True)
        thread.start()
        thread.join(WITHDRAW_SECONDS)

    def _work(self) -> None:
        try:
            self._report = self._steps()
        except BaseException as exc:  # a panic of Polars is no Exception, and every end has its report
            error = self._explained(exc)
            self._foretell(error)
            if self._sink is not None and not self._stopping:
                self._withdraw(self._sink.abort)
            self._report = self._stands or self._failed(error)
        finally:
            self._done.set()

    def _steps(self) -> Report:
        plan, ranks = self._plan, self._ranks
        asking = plan.purpose is Purpose.PREFLIGHT
        self._tracker.enter(Phase.PLANNING, f"{plan.language.value} query over {len(plan.inputs)} inputs")
        review = self._review
        checks = Checks(plan, lenient=review is not None, log=self._tracker.log)
        query = queries.prepare(plan) if review is None or review.runs_code else queries.unrun(plan)
        self._query = query
        engine = None if asking else engines.find(plan.engine)
        if engine is not None:
            checks.loaded()
            self._join(engine)
        identity = Identity(plan.job.uid, plan.attempt, ranks.index, ranks.size)
        sink = self._sink = Sink(
            plan, identity, on_progress=self._tracker.wrote, on_fault=self._foretell, hook=self._reached
        )
        ready = self._agreed(lambda: self._prepared(checks, query, sink))
        if ready.committed is not None:
            if self._reuse is not None and self._reuse.reused:
                return self._reused(ready.committed, ready.found)
            return self._already(ready.committed, ready.found if asking else None)
        if engine is None:
            return self._passed(ready.found)
        self._warn(ready.found.warnings)
        gpu = ready.found.release is not None
        if gpu:
            reader_rules.export(plan, inputs.places_of_tables(self._inputs))
        self._enter(Phase.RUNNING, f"engine {engine.name}")
        self._query_started = datetime.now(UTC)
        self._watch.enter(receipts.RUNNING)
        assert ready.frame is not None
        with contextlib.ExitStack() as ends, self._verified() as verification:
            # What the kernel counts is the query's where a pod runs nothing else, and the query runs nowhere else.
            if ranks.size == 1 and plan.dask is None and not self._tracker.quiet:
                ends.enter_context(pulse.told(self._tracker, plan, ready.frame))
            engine.run(ready.frame, sink)
            with ranks.working():  # the last piece of a file may be large, and tells of itself once it is in the store
                totals = sink.seal()
                verification.result()
        return self._commit(sink, totals, ready.found if gpu else None)

    def _join(self, engine: engines.Engine) -> None:
        ranks = self._ranks
        engine.join(self._plan, ranks)
        self._joined = datetime.now(UTC)
        if ranks.size > 1:
            self._tracker.log(f"process {ranks.index} of {ranks.size} has joined the others")
        if self._on_joined is not None:
            self._on_joined()

    def _prepared(self, checks: Checks, query: queries.Query | None, sink: Sink) -> _Ready:
        """Look at output and inputs, plan the query and check it; index 0 speaks for all where that is enough."""
        first = self._ranks.index == 0
        opened = self._opened(checks, sink, query) if first else self._shared(sink)
        if opened.committed:
            return _Ready(checks.status, committed=opened.committed)
        self._inputs = opened.inputs
        self._tracker.resolved(self._read())
        if first and (earlier := self._earlier(query, sink, opened)) is not None:
            return _Ready(checks.status, committed=earlier)
        if query is None:
            return _Ready(checks.judge(None))
        self._warn(tuple(text for one in opened.inputs.values() for text in one.warnings))
        planned = query.plan(opened.frames, opened.inputs)
        self._warn(planned.warnings)
        self._varies = planned.varies
        self._frame = planned.frame
        sink.check_schema(planned.frame.collect_schema())
        found = checks.judge(planned) if first else checks.status
        if self._plan.leaves_inputs and opened.inputs:
            found = checks.leave(sink, planned)
        return _Ready(found, planned.frame)

    def _earlier(self, query: queries.Query | None, sink: Sink, opened: Opened) -> OutputStatus | None:
        """Return the commit of an earlier job that is the result already, if the plan may reuse one."""
        if self._plan.reuse is None:
            return None
        earlier = None
        if query is not None:
            earlier, self._reuse = reusing.looked(self._plan, query, sink, (opened.frames, opened.inputs))
            self._tracker.log(f"reuse: {self._reuse.differs or 'the result is there already'}")
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

    def _agreed(self, prepare: Callable[[], _Ready]) -> _Ready:
        """Prepare, and go on only if all ranks can, and will run the same; raises what the first of them has failed
        with."""
        ranks = self._ranks
        if ranks.size == 1:
            return prepare()
        ready = None
        try:
            ready = prepare()
            word = Word(plan=self._fingerprint(ready.frame), committed=ready.committed)
        except BaseException as exc:
            # What another rank has found counts only if index 0 does not find that nothing needs to run.
            word = Word(failure=self._explained(exc))
        committed = agreement.before_run(ranks, word)
        if committed is not None or ready is None:
            return _Ready(PreflightStatus(polars=pl.__version__), committed=committed)
        return ready

    def _fingerprint(self, frame: pl.LazyFrame | None) -> fingerprint.Fingerprint | None:
        """What all ranks must have alike; with a Dask cluster only index 0's plan runs."""
        if frame is None:
            return None
        if self._plan.processes is Processes.PODS:
            return fingerprint.Fingerprint("", ())
        return fingerprint.fingerprint(frame)

    def _verified(self) -> inputs.Verification:
        return inputs.Verification.of(self._inputs, self._plan.store, self._ranks.index, self._ranks.size)

    def _commit(self, sink: Sink, totals: Totals, preflight: PreflightStatus | None) -> Report:
        ranks = self._ranks
        shares = agreement.before_commit(ranks, totals)
        if expect := self._plan.output.expect:
            self._tracker.log(f"checking {len(expect)} expectations")
            verdict.reach(sink, ranks, shares, self._plan.output.keep_failed, self._foretell)
        self._enter(Phase.COMMITTING, sink.where)
        if ranks.index != 0:
            return self._succeeded(agreement.after_commit(ranks, None))
        if changed := inputs.changed(self._inputs, self._plan.store):
            raise JobError(Failure.INPUT_CHANGED, changed)
        read = [ReadInput(**one.told().model_dump()) for one in self._inputs.values()]
        self._watch.enter(receipts.COMMITTING)
        committed = sink.commit([share.totals for share in shares], read)
        receipt = self._receipt(committed, shares)
        report = self._succeeded(committed, preflight)
        if receipt is not None:
            report = report.model_copy(update={"receipt": receipts.claim(receipt)})
        # From here on nothing that becomes of this process or the others can undo it.
        self._stands = report
        self._tell(report)
        if receipt is not None:
            sink.describe(receipt)
        if ranks.size > 1:
            agreement.after_commit(ranks, committed)
        return report

    def _receipt(self, committed: OutputStatus, shares: Sequence[agreement.Share]) -> Receipt | None:
        """Return the receipt of the commit; it stands, so what fails here is only logged."""
        seconds = self._watch.seconds()
        processes = tuple(share.told(index) for index, share in enumerate(shares)) if len(shares) > 1 else ()
        warnings = tuple(clean(hidden(one), MAX_TEXT) for one in self._warnings[:MAX_LISTED])
        try:
            assert self._query is not None
            draft = receipts.draft(self._plan, self._query, self._inputs)
            told = {
                "warnings": warnings, "processes": processes, "expectations": committed.expectations,
                "varies": clean(hidden(self._varies), MAX_TEXT),
            }  # fmt: skip
            return receipts.filled(draft, committed, seconds, told, receipts.asked(self._plan))
        except Exception as exc:
            self._tracker.log(f"cannot make the receipt: {redact(named(exc))}")
            return None

    def _warn(self, warnings: tuple[str, ...]) -> None:
        for warning in map(storable, warnings):
            if warning not in self._warnings:
                self._warnings += (warning,)
                self._tracker.log(f"warning: {warning}")
                self._tracker.warned(self._warnings)

    def _already(self, committed: OutputStatus, asked: PreflightStatus | None) -> Report:
        self._tracker.log(f"already committed as version {committed.version}")
        if asked is None:
            report = self._succeeded(committed)
            if self._ranks.index == 0 and self._sink is not None and self._query is not None:
                told = self._sink.recover_receipt(self._query, committed)
                report = report.model_copy(update={"receipt": told})
            return report
        remark = (
            f"this job has committed version {committed.version} of {committed.uri} already; nothing more was checked"
        )
        return self._passed(asked.model_copy(update={"warnings": (remark,)}))

    def _reused(self, committed: OutputStatus, found: PreflightStatus) -> Report:
        """The report of a preflight or an attempt that found the result there already, committed by another job."""
        report = self._succeeded(committed, found.model_copy(update={"finished": datetime.now(UTC)}))
        assert self._query is not None
        draft = receipts.draft(self._plan, self._query, self._inputs)
        return report.model_copy(update={"receipt": receipts.claim(draft)})

    def _passed(self, found: PreflightStatus) -> Report:
        """The report of a preflight that found nothing that keeps the query from running."""
        now = datetime.now(UTC)
        self._tracker.enter(Phase.DONE, f"the preflight passed, {len(found.fallbacks)} fallbacks")
        self._warn(found.warnings)
        found = found.model_copy(update={"finished": now})
        return Report(preflight=found, inputs=self._read(), reuse=self._reuse, finished=now)

    def _reached(self, step: Step) -> None:
        # Told at once: from here on the job is committed, and whatever becomes of this pod must not fail it.
        if step is Step.AFTER_RECORD:
            self._tracker.enter(Phase.PUBLISHING)

    def _enter(self, phase: Phase, detail: str) -> None:
        with self._gate:
            if self._stopping:
                raise JobError(Failure.WORKER_LOST, "stopped before the result was committed")
            self._tracker.enter(phase, detail)

    def _explained(self, exc: BaseException) -> JobError:
        try:
            return self._classified(exc)
        except BaseException as other:  # whatever an exception does to who looks at it, it is told
            return JobError(Failure.INTERNAL_ERROR, f"{named(exc)} (and while that was looked at: {named(other)})")

    def _classified(self, exc: BaseException) -> JobError:
        # The sink runs the query, so it has classified what the query raised; the raised thing says more to its author.
        cause = exc.__cause__ if isinstance(exc, JobError) else None
        raised = cause if cause is not None and not isinstance(cause, JobError) else exc
        if isinstance(raised, JobError):
            return raised
        if error := scratch.full(raised):
            return error
        if python_query.is_users(raised.__traceback__):
            return python_query.explained(raised)
        if located := inputs.located(raised, self._inputs, self._plan.store):
            return located
        if self._query is not None and (message := self._query.failed(raised)):
            return JobError(Failure.USER_ERROR, f"the query failed: {message}")
        error = classify(exc, self._tracker.phase.value)
        if blamed := self._blamed(raised, error):
            return blamed
        if error.failure is Failure.USER_ERROR:
            return JobError(error.failure, f"the query failed: {first_paragraph(raised)}")
        return error

    def _blamed(self, raised: BaseException, error: JobError) -> JobError | None:
        """Return the error that names the file of an input, if reading one has failed."""
        if error.failure not in UNEXPLAINED:
            return None
        with self._ranks.working():  # files are looked at one by one, for less than a minute
            return inputs.blamed(raised, self._inputs, self._plan.store, self._columns())

    def _columns(self) -> Mapping[str, Sequence[str]] | None:
        """Return the columns that the query reads, by input; None if that cannot be seen."""
        with contextlib.suppress(Exception):
            places = {name: [file.uri for file in one.files] for name, one in self._inputs.items()}
            return None if self._frame is None else reads.columns(self._frame, places)
        return None

    def _succeeded(self, committed: OutputStatus, preflight: PreflightStatus | None = None) -> Report:
        self._tracker.enter(Phase.DONE, f"version {committed.version}, {committed.rows} rows, {committed.files} files")
        return Report(
            committed=committed,
            preflight=preflight,
            reuse=self._reuse,
            inputs=self._read(),
            warnings=self._warnings,
            joined=self._joined,
            query_started=self._query_started,
            finished=datetime.now(UTC),
        )

    def _read(self) -> tuple[InputStatus, ...]:
        return tuple(one.told() for one in self._inputs.values())

    def _failed(self, error: JobError) -> Report:
        report = self._failure(error)
        self._tracker.log(f"failed: {error.failure.value}: {report.message}")
        return report

    def _failure(self, error: JobError) -> Report:
        lines = storable(error.message).splitlines()
        message = "\n".join(redact(line) if line.strip() else line for line in lines)
        return Report(
            failure=error.failure,
            message=message,
            process=error.process,
            reuse=self._reuse,
            inputs=self._read(),
            warnings=self._warnings,
            joined=self._joined,
            query_started=self._query_started,
            finished=datetime.now(UTC),
        )

    def _foretell(self, error: JobError) -> None:
        with self._gate:
            if self._first is None and self._stands is None:
                self._first = error
                self._tell(self._failure(error))

    def _tell(self, report: Report) -> None:
        if self._on_fault is not None:
            try:
                self._on_fault(report)
            except Exception as exc:  # the report at the end is what matters
                self._tracker.log(f"could not tell this beforehand: {redact(named(exc))}")
