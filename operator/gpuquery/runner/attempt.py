"""One attempt: from a plan to a report, in the one order in which nothing is paid for in vain.

What needs no I/O is checked first (the release, the query's text, its parameters, the engine), then the output (is it
committed already, does it exist, can the store be trusted), then the inputs' schemas and contracts, the query's plan
and whether the GPU engine can run it, and only then rows move. A preflight ends there, with what it found.

The work runs in a thread, so that the main thread stays free for signals: Polars holds its caller until a query is
done.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase, Report
from gpuquery.api.status import OutputStatus, PreflightStatus
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.runner import engines, inputs, python_query, queries, reader_rules
from gpuquery.runner.errors import JobError, first_paragraph
from gpuquery.runner.preflight import later
from gpuquery.runner.preflight.checks import Checks
from gpuquery.runner.progress import Tracker
from gpuquery.runner.sink.commit import Step
from gpuquery.runner.sink.faults import classify, redact
from gpuquery.runner.sink.sink import Identity, Sink

ABORT_SECONDS = 4.0
"""How long the sink may take to withdraw what it staged; the next attempt takes away what is left then."""
COMMIT_SECONDS = 15.0
"""How long a commit that has begun may go on after the order to stop: half of one helps nobody."""
SIGNAL_SECONDS = 0.2
"""How late the main thread may learn of a signal that another thread took."""
_UNCOMMITTED = "before the result was committed"
_MOMENTS = {
    Phase.COMMITTING: "while the commit record was being written: the next attempt finds out whether it stands",
    Phase.PUBLISHING: "after the commit, before all its files were published: the next attempt publishes the rest",
}


class Attempt:
    """One attempt; `run` blocks until it has ended, `stop` may be called when `run` was interrupted.

    `on_fault` gets, at most once and from any thread, the report that is true should the process die before `run` or
    `stop` has returned its own: while Polars lets go of a query that has failed, a crash must not hide why it did.
    """

    def __init__(
        self,
        plan: Plan,
        tracker: Tracker,
        *,
        rank: int = 0,
        lenient: bool = False,
        on_fault: Callable[[Report], None] | None = None,
    ) -> None:
        """`lenient` is for a preflight on a machine that need not hold the plan's release."""
        self._plan = plan
        self._lenient = lenient
        self._tracker = tracker
        self._rank = rank
        self._on_fault = on_fault
        self._gate = threading.RLock()  # a file that the garbage collector closes may tell a fault anywhere
        self._stopping = False
        self._sink: Sink | None = None
        self._query_started: datetime | None = None
        self._warnings: tuple[str, ...] = ()
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
            committing = self._tracker.phase in (Phase.COMMITTING, Phase.PUBLISHING)
        if not self._done.is_set():
            self._foretell(self._lost(why))
        if committing:
            self._tracker.log(f"{why}: finishing the commit")
            self._done.wait(COMMIT_SECONDS)
        elif self._sink is not None and not self._done.is_set():
            self._tracker.log(f"{why}: withdrawing what was staged")
            self._withdraw(self._sink.abort)
        if self._report is not None and self._done.is_set():
            return self._report
        return self._failed(self._lost(why))

    def _lost(self, why: str) -> JobError:
        return JobError(Failure.WORKER_LOST, f"{why} {_MOMENTS.get(self._tracker.phase, _UNCOMMITTED)}")

    def _withdraw(self, abort: Callable[[], None]) -> None:
        def quietly() -> None:
            try:
                abort()
            except Exception as exc:
                self._tracker.log(f"could not withdraw: {redact(str(exc))}")

        # In a thread of its own: a store that hangs must not hold the pod.
        thread = threading.Thread(target=quietly, name="abort", daemon=True)
        thread.start()
        thread.join(ABORT_SECONDS)

    def _work(self) -> None:
        try:
            self._report = self._steps()
        except BaseException as exc:  # a panic of Polars is no Exception, and every end has its report
            error = self._classified(exc)
            self._foretell(error)
            if self._sink is not None and not self._stopping:
                self._withdraw(self._sink.abort)
            self._report = self._failed(error)
        finally:
            self._done.set()

    def _steps(self) -> Report:
        plan, tracker = self._plan, self._tracker
        asking = plan.purpose is Purpose.PREFLIGHT
        tracker.enter(Phase.PLANNING, f"{plan.language.value} query over {len(plan.inputs)} inputs")
        checks = Checks(plan, lenient=self._lenient)
        query = queries.prepare(plan)
        engine = None if asking else engines.find(plan.engine)
        identity = Identity(plan.job.uid, plan.attempt, self._rank, plan.replicas)
        sink = self._sink = Sink(plan, identity, on_progress=tracker.wrote, on_fault=self._foretell, hook=self._reached)
        opened = checks.open(sink)
        if opened.committed:
            return self._already(opened.committed, checks.status if asking else None)
        planned = query.plan(opened.frames)
        self._warn(planned.warnings)
        sink.check_schema(planned.frame.collect_schema())
        # All ranks have the same plan and the same image, so one of them speaks for all.
        found = checks.judge(planned.frame, planned.warnings) if self._rank == 0 else checks.status
        if engine is None:
            return self._passed(found)
        self._warn(found.warnings)
        if found.release is not None:
            reader_rules.export(plan)
        self._enter(Phase.RUNNING, f"engine {engine.name}")
        self._query_started = datetime.now(UTC)
        engine.run(planned.frame, sink)
        self._enter(Phase.COMMITTING, plan.output.uri)
        return self._succeeded(sink.commit(), found if found.release is not None else None)

    def _warn(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            if warning not in self._warnings:
                self._warnings += (warning,)
                self._tracker.log(f"warning: {warning}")

    def _already(self, committed: OutputStatus, asked: PreflightStatus | None) -> Report:
        self._tracker.log(f"already committed as version {committed.version}")
        if asked is None:
            return self._succeeded(committed)
        remark = (
            f"this job has committed version {committed.version} of {committed.uri} already; nothing more was checked"
        )
        return self._passed(asked.model_copy(update={"warnings": (remark,)}))

    def _passed(self, found: PreflightStatus) -> Report:
        """The report of a preflight that found nothing that keeps the query from running."""
        now = datetime.now(UTC)
        self._tracker.enter(Phase.DONE, f"the preflight passed, {len(found.fallbacks)} fallbacks")
        self._warn(found.warnings)
        return Report(preflight=found.model_copy(update={"finished": now}), finished=now)

    def _reached(self, step: Step) -> None:
        # Told at once: from here on the job is committed, and whatever becomes of this pod must not fail it.
        if step is Step.AFTER_RECORD:
            self._tracker.enter(Phase.PUBLISHING)

    def _enter(self, phase: Phase, detail: str) -> None:
        with self._gate:
            if self._stopping:
                raise JobError(Failure.WORKER_LOST, "stopped before the result was committed")
            self._tracker.enter(phase, detail)

    def _classified(self, exc: BaseException) -> JobError:
        # The sink runs the query, so it has classified what the query raised; the raised thing says more to its author.
        raised = exc.__cause__ if isinstance(exc, JobError) and exc.__cause__ else exc
        if isinstance(raised, JobError):
            return raised
        if python_query.is_users(raised.__traceback__):
            return python_query.explained(raised)
        if clash := inputs.clash(raised, self._plan.inputs, self._plan.store):
            return clash
        error = classify(exc, self._tracker.phase.value)
        if error.failure is Failure.USER_ERROR:
            return JobError(error.failure, f"the query failed: {first_paragraph(raised)}")
        return error

    def _succeeded(self, committed: OutputStatus, preflight: PreflightStatus | None = None) -> Report:
        self._tracker.enter(Phase.DONE, f"version {committed.version}, {committed.rows} rows, {committed.files} files")
        return Report(
            committed=committed,
            preflight=preflight,
            warnings=self._warnings,
            query_started=self._query_started,
            finished=datetime.now(UTC),
        )

    def _failed(self, error: JobError) -> Report:
        report = self._failure(error)
        self._tracker.log(f"failed: {error.failure.value}: {report.message}")
        return report

    def _failure(self, error: JobError) -> Report:
        message = "\n".join(redact(line) if line.strip() else line for line in error.message.splitlines())
        return Report(
            failure=error.failure,
            message=message,
            warnings=self._warnings,
            query_started=self._query_started,
            finished=datetime.now(UTC),
        )

    def _foretell(self, error: JobError) -> None:
        with self._gate:
            tell, self._on_fault = self._on_fault, None
            if tell is not None:
                with contextlib.suppress(OSError):  # the report at the end is what matters
                    tell(self._failure(error))
