"""The order of the checks: what needs no I/O first, and what can go on beside something else does.

    checks = Checks(plan)               # release, names of types; begins to load cudf-polars
    opened = checks.open(sink)          # output and inputs at once, then contracts
    ...the query is planned...
    found = checks.judge(planned)       # GPU reader, translation, partitions, sizes; without a plan the reader alone

Whatever is found first in that order is raised, whichever of two checks was faster.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES
from gpuquery.api.status import MAX_PLAN_SHOWN, OutputStatus, PreflightStatus
from gpuquery.api.text import clean
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import hidden
from gpuquery.runner.failures.stores import redact
from gpuquery.runner.later import Later
from gpuquery.runner.preflight import contracts, files, release, sizes, translate
from gpuquery.runner.query import facts
from gpuquery.runner.stores import reader_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from gpuquery.runner.inputs import Resolved
    from gpuquery.runner.output.sink import Sink
    from gpuquery.runner.query import queries


@dataclass(frozen=True)
class Opened:
    """What is there: the inputs, or the commit that makes them needless."""

    inputs: Mapping[str, Resolved]
    frames: Mapping[str, pl.LazyFrame]
    committed: OutputStatus | None = None


class Checks:
    """The checks of one attempt, or of its preflight."""

    def __init__(self, plan: Plan, *, lenient: bool = False, log: Callable[[str], None] = lambda _: None) -> None:
        """Raise JobError (ReleaseMismatch, InvalidPlan, ...) for what is wrong without a look at any data.

        `lenient` is for a machine that will not run the query itself: it need not hold the release. `log` gets lines
        for the log.
        """
        self._skipped = ""
        self._log = log
        try:
            here = release.check(plan)
        except JobError:
            if not lenient:
                raise
            here = release.installed()
            self._skipped = (
                f"whether the GPU engine can run the query was not checked: this machine has {here.described}, and the "
                f"job needs RAPIDS {plan.release}; do it where requirements/releases/{plan.release}-cu12.txt is "
                "installed"
            )
        release.check_sql(plan, here)
        release.check_expectations(plan, here)
        self._gpu = plan.engine in GPU_ENGINES
        self._translates = self._gpu and not self._skipped
        self._plan = plan.model_copy(update={"release": here.release}) if self._translates else plan
        self.status = PreflightStatus(release=(here.release if self._gpu else None), polars=here.polars)
        """What is known so far."""
        contracts.check_types(plan.inputs)
        if self._gpu:
            reader_rules.check_formats(plan)
        self._loading = Later(translate.load) if self._translates else None
        self._sizes: Mapping[str, int] = {}
        self._resolved: Mapping[str, Resolved] = {}
        self._contract: Later[None] | None = None
        self._reader: Later[tuple[str, ...]] | None = None

    def loaded(self) -> None:
        """Wait until cudf-polars is imported, if it is needed: of two threads that import packages which import each
        other, Python ends one ("deadlock detected by _ModuleLock"). What fails in it is told by `judge`."""
        if self._loading:
            with contextlib.suppress(Exception):
                self._loading.result()

    def open(self, sink: Sink) -> Opened:
        """Ask the output and resolve the inputs; raises JobError, the output's first."""
        plan = self._plan
        stores.check([*sink.places, *(uri for item in plan.inputs for uri in item.places)], plan.store)
        taking = Later(lambda: self._taken(sink))
        opening = Later(lambda: self._opened(taking.result()))
        if committed := sink.preflight():
            return Opened({}, {}, committed)
        resolved = self._resolved = opening.result()
        contracts.check(resolved)
        if self._gpu:
            resolved = inputs.for_gpu(resolved)
        self._sizes = {stores.of(f.uri).address(f.uri): f.bytes for one in resolved.values() for f in one.files}
        counted = {name: one for name, one in resolved.items() if name not in taking.result()}
        self._contract = Later(lambda: contracts.check_nulls(counted, plan.store))
        if self._gpu:
            self._reader = Later(lambda: reader_rules.check_access(plan, inputs.places_of_tables(resolved)))
        return Opened(resolved, inputs.frames(resolved, plan.store))

    def _taken(self, sink: Sink) -> Mapping[str, Resolved]:
        """Return the inputs that are still as the preflight has left them."""
        plan = self._plan
        if plan.inputs_digest is None:
            return {}
        if (text := sink.left(plan.inputs_digest)) is None:
            self._log("what the preflight has found out about the inputs is not there any more: they are resolved anew")
            return {}
        return inputs.taken(text, plan.inputs, plan.store, plan.snapshots, self._log)

    def _opened(self, taken: Mapping[str, Resolved]) -> dict[str, Resolved]:
        plan = self._plan
        others = [item for item in plan.inputs if item.name not in taken]
        found = {**taken, **inputs.resolve(others, plan.store, plan.snapshots)}
        return {item.name: found[item.name] for item in plan.inputs}

    def leave(self, sink: Sink, planned: queries.Planned) -> PreflightStatus:
        """Leave the resolved inputs for the attempts, once all checks have passed; the status tells their digest.

        Where that fails, an attempt resolves them anew.
        """
        told = dict(self._resolved)
        if (known := planned.statistics) is not None:
            told = {name: replace(one, facts=facts.to_json(known.table(name))) for name, one in told.items()}
        try:
            self.status = self.status.model_copy(update={"inputs_digest": sink.leave(inputs.left(told))})
        except JobError as exc:
            self._log(f"cannot leave the inputs for the attempts, which resolve them anew: {exc.message}")
        return self.status

    def judge(self, planned: queries.Planned | None) -> PreflightStatus:
        """Judge the planned query; raises JobError.

        None where the query was not planned: its translation and its sizes stay unknown.
        """
        frame, warnings = (planned.frame, planned.warnings) if planned else (None, ())
        plan = self._plan
        # One frame for each thread: Polars 1.32 was seen to refuse the second of two that look at one ("Already mutably
        # borrowed").
        sizing: Later[PreflightStatus] | None = None
        if frame is not None and plan.purpose is Purpose.PREFLIGHT:
            before, sized = self.status, frame.clone()
            sizing = Later(lambda: sizes.filled(before, sized, plan.store, self._sizes))
        translation: Later[translate.Translation] | None = None
        if frame is not None and self._loading:
            translated = frame.clone()
            translation = Later(lambda: self._translated(translated))
        if self._contract:
            self._contract.result()
        noted = self._reader.result() if self._reader else ()
        found = translation.result() if translation else translate.Translation()
        status = sizing.result() if sizing else self.status
        skipped = (self._skipped,) if self._skipped else ()
        unchecked = tuple(f"not checked: {part}" for part in found.unchecked)
        all_warnings = (*status.warnings, *warnings, *skipped, *noted, *unchecked)
        # What the release itself says is certain; the table of releases speaks where it was not asked.
        alone = found.fallbacks if translation or planned is None else planned.alone
        tree = planned.plan if planned and len(planned.plan) <= MAX_PLAN_SHOWN else ""
        self.status = status.model_copy(
            update={
                "plan": clean(hidden(tree)),
                "fallbacks": tuple(redact(part) for part in alone),
                "one_partition": found.one_partition,
                "warnings": tuple(redact(text) for text in all_warnings),
            }
        )
        return self.status

    def _translated(self, frame: pl.LazyFrame) -> translate.Translation:
        plan = self._plan
        if self._loading:
            try:
                self._loading.result()
            except Exception as exc:  # a driver's library that a machine without GPU does not have
                return translate.Translation(unchecked=(f"cudf-polars cannot be imported here: {exc}",))
        return translate.check(plan, frame, lambda paths: files.stored_bytes(paths, plan.store, self._sizes))
