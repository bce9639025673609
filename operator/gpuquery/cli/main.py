"""The command line.

Exit codes: 0 done, 1 the job failed, 2 the input is wrong, 130 interrupted. With `-o json` the result goes to standard
output as JSON and remarks go to standard error. What a command does not need is not imported: `crd` works without
Polars, `run` without kopf.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from gpuquery.cli.jobfile import JobFile, JobFileError, read

if TYPE_CHECKING:
    from gpuquery.api.report import Progress, Report
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.plan import Plan

OK, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    chosen = parser().parse_args(arguments)
    try:
        return int(chosen.command(chosen))
    except JobFileError as error:
        for problem in error.problems:
            remark(problem)
        return INVALID
    except KeyboardInterrupt:
        remark("interrupted: what was written was withdrawn")
        return INTERRUPTED
    except BrokenPipeError:
        return OK


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(prog="gpuquery", description="Queries as one object, committed atomically.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text, takes in (
        ("run", run, "run a job on this machine: same query, same commit, no Kubernetes", "file"),
        ("validate", validate, "check job files: fields, bounds, SQL, parameters; reads no data", "files"),
        ("render", render, "print the objects that the operator would create", "file"),
        ("crd", crd, "print the CustomResourceDefinition", ""),
        ("operator", operator, "run the operator (settings come from GPUQUERY_* variables)", ""),
    ):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command)
        if takes:
            one.add_argument(takes, nargs="+" if takes == "files" else None, help="YAML; - is standard input")
        if name in ("run", "validate", "render"):
            one.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the result")
        if name == "run":
            one.add_argument("--endpoint", help="URL of the S3 server, in place of storage.endpoint")
            one.add_argument("--uid", help="identity of the run: the same one again finds its own commit")
        if name == "operator":
            one.add_argument("-n", "--namespace", action="append", help="watch this one; may come several times")
    return made


def crd(_: argparse.Namespace) -> int:
    """Print the CRD."""
    from gpuquery.api.crd import as_yaml

    print(as_yaml(), end="")
    return OK


def operator(chosen: argparse.Namespace) -> int:
    """Run the operator until it is told to stop."""
    try:
        from gpuquery.app import run as run_operator
    except ImportError as error:
        return lacking("operator", error)
    return run_operator(chosen.namespace)


def validate(chosen: argparse.Namespace) -> int:
    """Check files and say what is wrong with each."""
    results: list[dict[str, Any]] = []
    for path in chosen.files:
        try:
            file = read(path)
            for job in file.jobs:
                _check_query(_plan(file, job))
                results.append({"file": path, "job": job.metadata.name, "problems": []})
        except JobFileError as error:
            results.append({"file": path, "job": None, "problems": list(error.problems)})
    wrong = any(r["problems"] for r in results)
    if chosen.output == "json":
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            for problem in result["problems"]:
                remark(problem)
            if not result["problems"]:
                print(f"{result['file']}: {result['job']} is valid")
    return INVALID if wrong else OK


def render(chosen: argparse.Namespace) -> int:
    """Print the children of the first attempt of each job."""
    from gpuquery.build.attempt import attempt_objects
    from gpuquery.plan.defaults import Defaults

    file = read(chosen.file)
    objects = [o for job in file.jobs for o in attempt_objects(_plan(file, job, local=False), job, Defaults())]
    if chosen.output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(yaml.safe_dump_all(objects, sort_keys=False), end="")
    return OK


def run(chosen: argparse.Namespace) -> int:
    """Run the jobs of a file, one after the other, on this machine."""
    try:
        from gpuquery.runner import local
    except ImportError as error:
        return lacking("runner", error)
    file = read(chosen.file)
    results: list[dict[str, Any]] = []
    failed = False
    for job in file.jobs:
        plan = _overridden(_plan(file, job), chosen)
        show = Bar(job.metadata.name)
        report = local.run(plan, on_progress=show.update)
        show.end()
        failed = failed or report.committed is None
        results.append({"job": job.metadata.name, **report.model_dump(mode="json", by_alias=True, exclude_none=True)})
        if chosen.output == "text":
            tell(job, report)
    if chosen.output == "json":
        print(json.dumps(results, indent=2))
    return FAILED if failed else OK


def tell(job: GpuQueryJob, report: Report) -> None:
    """Print the outcome of a run."""
    for warning in report.warnings:
        remark(f"warning: {warning}")
    if report.committed is None:
        remark(f"{job.metadata.name}: {report.failure}: {report.message}")
        return
    out = report.committed
    print(f"{out.uri}: version {out.version}, {out.rows:,} rows in {out.files:,} files, {out.bytes / 1e6:,.1f} MB")


class Bar:
    """Progress: one line that is written over on a terminal, a line for each phase elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._phase = ""
        self._drawn = False

    def update(self, progress: Progress) -> None:
        """Show where the run is."""
        if not self._terminal and progress.phase == self._phase:
            return
        self._phase = progress.phase
        share = f" {progress.percent:3d} %" if progress.percent is not None else ""
        text = f"{self._name}: {progress.phase}{share}, {progress.rows:,} rows, {progress.bytes / 1e6:,.1f} MB"
        text += f", {time.monotonic() - self._began:.1f} s"
        print(
            f"\r\x1b[K{text}" if self._terminal else text,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )
        self._drawn = self._terminal

    def end(self) -> None:
        """Leave the line."""
        if self._drawn:
            print(file=sys.stderr)


def _plan(file: JobFile, job: GpuQueryJob, *, local: bool = True) -> Plan:
    from gpuquery.plan.defaults import Defaults
    from gpuquery.plan.resolve import Rejected, resolve

    plan = resolve(job, Defaults(), file.query_text(job), local=local)
    if isinstance(plan, Rejected):
        raise JobFileError([f"{file.path}: {job.metadata.name}: {plan.reason}: {plan.message}"])
    return plan


def _check_query(plan: Plan) -> None:
    """Parse the query and bind its parameters, where the libraries for it are installed."""
    try:
        from gpuquery.runner.errors import JobError
        from gpuquery.runner.queries import prepare
    except ImportError:
        remark("the query's text was not checked: it needs gpuquery[runner]")
        return
    try:
        prepare(plan)
    except JobError as error:
        raise JobFileError([f"{plan.job.name}: {error}"]) from None


def _overridden(plan: Plan, chosen: argparse.Namespace) -> Plan:
    if chosen.endpoint:
        store = plan.store.model_copy(update={"endpoint": chosen.endpoint, "path_style": True})
        plan = plan.model_copy(update={"store": store})
    if chosen.uid:
        plan = plan.model_copy(update={"job": plan.job.model_copy(update={"uid": chosen.uid})})
    return plan


def lacking(extra: str, error: ImportError) -> int:
    """Say which extra to install."""
    remark(f"this command needs gpuquery[{extra}]: pip install 'gpuquery[{extra}]' ({error})")
    return INVALID


def remark(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr)
