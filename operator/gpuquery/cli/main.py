"""The command line. Each command imports only what it needs: `crd` works without Polars, `run` without kopf."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gpuquery.api.output import MAIN_BRANCH, OutputFormat
from gpuquery.api.reasons import Failure
from gpuquery.cli.jobfile import JobFile, JobFileError, read
from gpuquery.cli.show import manifests, outcome, remark, say
from gpuquery.cli.supposed import defaults_for, overridden, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.plan import Plan

PLAN_READS = """

It reads the inputs and tries the output with the credentials of its environment, at the endpoint that the job names. It
runs a job's Python only with --run-code, and then with all rights of the caller. If kubectl has a context, it asks that
cluster for the operator's defaults and images, and whether its API server accepts the job."""
OK, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
EXPLAIN_READS = """

It reads only schemas and footers of the inputs, with the credentials of its environment. It knows what RAPIDS releases
can run without having them installed; `plan` asks the installed one."""
EPILOG = """exit codes:
  0    done
  1    a job failed, or two receipts differ
  2    the input is wrong: the file, the job, the arguments, or a library that is not installed
  130  interrupted

Results go to standard output, as text or with -o json as JSON; remarks and progress go to standard error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    chosen = parser().parse_args(arguments)
    try:
        code = int(chosen.command(chosen))
        sys.stdout.flush()
    except JobFileError as error:
        for problem in error.problems:
            remark(problem)
        return INVALID
    except KeyboardInterrupt:
        remark("interrupted: what was written was withdrawn")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has stopped (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(
        prog="gpuquery", description="Queries as one object, committed atomically.", epilog=EPILOG, formatter_class=form
    )
    made.add_argument("--version", action="version", version=f"gpuquery {version('gpuquery')}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("run", run, "run the jobs of a file on this machine: same query, same commit, no Kubernetes"),
        ("validate", validate, "check job files: fields, bounds, SQL, parameters; reads no data and runs no code"),
        (
            "plan",
            plan,
            "say what would be decided about the jobs of a file, what their preflight finds and what they cost",
        ),
        (
            "explain",
            explain,
            "show how the SQL of the jobs of a file will run, and which engines and releases can run it",
        ),
        ("render", render, "print the objects that the operator would create for the jobs of a file"),
        ("history", history, "list what jobs have committed to a table, newest first"),
        ("fsck", fsck, "check that a table's log and files are what was committed, and repair what is safe to repair"),
        ("rollback", rollback, "make a table what it was at an earlier version, by a new version"),
        ("publish", publish, "let readers of an Iceberg table see what jobs have written to a branch"),
        ("receipt", receipt, "show what a job has run, over what, by what, and what came of it"),
        ("diff", diff, "say what differs between two receipts, first what can change rows; 1 if anything does"),
        ("crd", crd, "print the CustomResourceDefinition"),
        ("operator", operator, "run the operator; its settings come from GPUQUERY_* variables"),
    ):
        more = {"plan": PLAN_READS, "explain": EXPLAIN_READS}.get(name, "")
        one = commands.add_parser(name, help=text, description=text + more, epilog=EPILOG, formatter_class=form)
        one.set_defaults(command=command)
        if name in ("run", "validate", "plan", "explain", "render"):
            forms = ("text", "json", "dot", "svg") if name == "explain" else ("text", "json")
            _job_arguments(one, several=name == "validate", forms=forms)
        if name in ("history", "fsck", "rollback", "publish"):
            _table_arguments(one, name)
        if name in ("receipt", "diff"):
            _receipt_arguments(one, several=name == "diff")
        if name in ("run", "plan", "explain", "history", "fsck", "rollback", "publish", "receipt", "diff"):
            whose = "S3 server" if name in ("run", "plan", "explain") else "server of the table's store"
            one.add_argument("--endpoint", metavar="URL", help=f"{whose}, in place of storage.endpoint")
            one.add_argument("--region", help="region, in place of storage.region")
        if name == "run":
            one.add_argument("--uid", help="identity of the run: a second run with the same one finds its own commit")
        if name == "plan":
            one.add_argument("--release", metavar="NN.NN", help="RAPIDS release, in place of runtime.release")
            one.add_argument(
                "--run-code", action="store_true", help="run the Python of the jobs' queries on this machine"
            )
            asked = one.add_mutually_exclusive_group()
            asked.add_argument("--context", metavar="NAME", help="ask this one in place of kubectl's current context")
            asked.add_argument(
                "--no-cluster",
                action="store_true",
                help="ask none, and suppose images of every release",
            )
            one.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
        if name == "render":
            one.add_argument("--runtime-image", metavar="IMAGE", help="the operator's default runtime image")
        if name == "operator":
            one.add_argument("-n", "--namespace", action="append", help="watch this one only; may come several times")
    return made


def _job_arguments(one: argparse.ArgumentParser, *, several: bool, forms: Sequence[str]) -> None:
    one.add_argument(
        "files" if several else "file", nargs="+" if several else None, metavar="FILE",
        help="YAML with one or more GpuQueryJobs, and ConfigMaps that they refer to; - is standard input",
    )  # fmt: skip
    one.add_argument("-o", "--output", choices=forms, default="text", help="form of the result")
    one.add_argument(
        "--configmap", action="append", default=[], metavar="FILE", help="further YAML with ConfigMaps of queries"
    )


def _table_arguments(one: argparse.ArgumentParser, name: str) -> None:
    one.add_argument(
        "uri", metavar="TABLE",
        help="the output.uri of a job, or CATALOG:TABLE such as lake:sales.orders; credentials and the "
        "variables of the catalog come from the environment",
    )  # fmt: skip
    one.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the result")
    match name:
        case "history":
            one.add_argument("--last", type=_count, default=20, metavar="N", help="how many commits; 20")
        case "rollback":
            one.add_argument("--to", type=_version, metavar="VERSION", required=True, help="as `history` names it")
        case "publish":
            one.add_argument("branch", metavar="BRANCH", help="what was checked: output.table.branch of a job")
            one.add_argument("--to", metavar="BRANCH", default=MAIN_BRANCH, help="the branch that readers see; main")
            one.add_argument("--drop", action="store_true", help="remove the checked branch by the same commit")
        case _:
            _check_arguments(one)


def _check_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--deep", action="store_true", help="read all files too, and compare rows and checksums")
    one.add_argument(
        "--repair",
        action="store_true",
        help="publish what is committed, delete files that were replaced, and make the pointer anew",
    )
    one.add_argument(
        "--void", type=_count, metavar="VERSION",
        help="take back a version that can never be published, because bytes of it are gone; stop its writers before",
    )  # fmt: skip


def _receipt_arguments(one: argparse.ArgumentParser, *, several: bool) -> None:
    one.add_argument(
        "receipts", nargs=2 if several else 1, metavar="RECEIPT",
        help="[NAMESPACE/]NAME of a job of the cluster; the output.uri of a job, for its newest receipt; or a file "
        "with a receipt, or with a job as kubectl prints it",
    )  # fmt: skip
    one.add_argument("-n", "--namespace", help="namespace of the jobs; that of the context")
    one.add_argument("--context", metavar="NAME", help="ask this one in place of kubectl's current context")
    one.add_argument(
        "--uri", nargs="?", const="", metavar="URI",
        help="of a job: read the whole receipt, from its output, or from here",
    )  # fmt: skip
    one.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the result")


def _version(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def crd(_: argparse.Namespace) -> int:
    """Print the CRD."""
    from gpuquery.api.crd import as_yaml

    print(as_yaml(), end="")
    return OK


def operator(chosen: argparse.Namespace) -> int:
    """Run the operator until it is stopped."""
    try:
        from gpuquery.app.main import run as run_operator
    except ImportError as error:
        return _lacking("operator", error)
    return run_operator(chosen.namespace)


def validate(chosen: argparse.Namespace) -> int:
    """Check files and report the errors of each job."""
    results: list[dict[str, Any]] = []
    for path in chosen.files:
        try:
            file = read(path, config_maps=chosen.configmap)
        except JobFileError as error:
            results.append(_verdict(path, None, error.problems))
            continue
        results += [_judged(path, file, job) for job in file.jobs]
    if chosen.output == "json":
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            for line in (*result["problems"], *result["remarks"]):
                remark(line)
            if result["valid"]:
                say(f"{result['file']}: {result['job']} is valid")
    return OK if all(r["valid"] for r in results) else INVALID


def _judged(path: str, file: JobFile, job: GpuQueryJob) -> dict[str, Any]:
    remarks: list[str] = []
    try:
        remarks += _check_query(file, resolved(file, job))
    except JobFileError as error:
        return _verdict(path, job.metadata.name, error.problems)
    try:
        resolved(file, job, local=False)
    except JobFileError as error:
        # Only a cluster refuses its file:// places: the job works with `gpuquery run`.
        remarks += [f"{problem} (for `gpuquery run` it is valid)" for problem in error.problems]
    return _verdict(path, job.metadata.name, (), remarks)


def _verdict(path: str, name: str | None, problems: Sequence[str], remarks: Sequence[str] = ()) -> dict[str, Any]:
    return {"file": path, "job": name, "valid": not problems, "problems": list(problems), "remarks": list(remarks)}


def render(chosen: argparse.Namespace) -> int:
    """Print the children of the first attempt of each job."""
    from gpuquery.render.attempt import attempt_objects

    file = read(chosen.file, config_maps=chosen.configmap)
    objects: list[dict[str, Any]] = []
    for job in file.jobs:
        defaults = defaults_for(job)
        if chosen.runtime_image:
            defaults = defaults.model_copy(update={"runtime_image": chosen.runtime_image})
        objects += attempt_objects(resolved(file, job, local=False), job, defaults)
    if chosen.output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(manifests(objects), end="")
    return OK


def plan(chosen: argparse.Namespace) -> int:
    """Print the plan of each job, and the results of its preflight on this machine."""
    try:
        import gpuquery.runner.local  # noqa: F401
    except ImportError as error:
        return _lacking("runner", error)
    from gpuquery.cli.plan import considered, outlook, show

    file = read(chosen.file, config_maps=chosen.configmap)
    cases = considered(file, chosen)
    outlooks = [outlook(case, runs_code=chosen.run_code) for case in cases]
    show(outlooks, as_json=chosen.output == "json")
    return OK if all(one.good for one in outlooks) else FAILED


def explain(chosen: argparse.Namespace) -> int:
    """Print the plan of each job's SQL, and the engines and releases that can run it."""
    try:
        import gpuquery.runner.local  # noqa: F401
    except ImportError as error:
        return _lacking("runner", error)
    from gpuquery.cli.explain import explained, show

    file = read(chosen.file, config_maps=chosen.configmap)
    found = [explained(file, job, chosen) for job in file.jobs]
    show(found, form=chosen.output)
    return OK if all(one.explanation for one in found) else FAILED


def run(chosen: argparse.Namespace) -> int:
    """Run the jobs of a file, one after the other, on this machine."""
    from gpuquery.cli import apart

    if not apart.installed("polars"):
        return _lacking("runner", ImportError("No module named 'polars'"))
    file = read(chosen.file, config_maps=chosen.configmap)
    # Resolve all of them first: an invalid job should not show up only after an hour of others.
    plans = [overridden(resolved(file, job), chosen) for job in file.jobs]
    results: list[dict[str, Any]] = []
    try:
        for plan, report in apart.reports(plans):
            results.append({"job": plan.job.name, **report.model_dump(mode="json", by_alias=True, exclude_none=True)})
            if chosen.output == "text":
                outcome(plan.job.name, report)
    except ImportError as error:
        return _lacking("runner", error)
    if chosen.output == "json":
        print(json.dumps(results, indent=2))
    return OK if all("committed" in result for result in results) else FAILED


def history(chosen: argparse.Namespace) -> int:
    """List the commits to a table."""
    return _of_table(chosen, "show_history")


def fsck(chosen: argparse.Namespace) -> int:
    """Check a table."""
    return _of_table(chosen, "show_health")


def rollback(chosen: argparse.Namespace) -> int:
    """Go back to an earlier version of a table."""
    return _of_table(chosen, "roll_back")


def publish(chosen: argparse.Namespace) -> int:
    """Move a branch of an Iceberg table."""
    return _of_table(chosen, "publish")


def receipt(chosen: argparse.Namespace) -> int:
    """Show a receipt."""
    return _of_receipts(chosen, compared=False)


def diff(chosen: argparse.Namespace) -> int:
    """Compare two receipts."""
    return _of_receipts(chosen, compared=True)


def _of_receipts(chosen: argparse.Namespace, *, compared: bool) -> int:
    from gpuquery.cli import receipt as receipts

    try:
        found = [receipts.found(text, chosen) for text in chosen.receipts]
    except receipts.NoReceiptError as error:
        remark(str(error))
        return INVALID
    except ImportError as error:
        return _lacking("runner", error)
    as_json = chosen.output == "json"
    if not compared:
        receipts.show(found[0], as_json=as_json)
        return OK
    return FAILED if receipts.compare(found[0], found[1], as_json=as_json) else OK


def _of_table(chosen: argparse.Namespace, what: str) -> int:
    try:
        from gpuquery.cli import table
        from gpuquery.runner.failures.errors import JobError
    except ImportError as error:
        return _lacking("runner", error)
    try:
        good = getattr(table, what)(chosen)
    except JobError as error:
        remark(f"{chosen.uri}: {error.failure}: {error.message}")
        return INVALID if error.failure is Failure.INVALID_PLAN else FAILED
    return OK if good else FAILED


def _check_query(file: JobFile, plan: Plan) -> list[str]:
    """Parse the query and bind its parameters, if the libraries are installed; returns remarks."""
    try:
        from gpuquery.runner.failures.errors import JobError
        from gpuquery.runner.output.expect import Expectations
        from gpuquery.runner.output.tables.delta.where import Where
        from gpuquery.runner.query import queries
    except ImportError:
        return [f"{file.path}: {plan.job.name}: the query's text was not checked, which needs gpuquery[runner]"]
    try:
        queries.check(plan)
        Expectations(plan)
        if plan.output.overwrite_where and plan.output.format is OutputFormat.DELTA:
            Where(plan, plan.output.overwrite_where)
    except JobError as error:
        named = [f"{file.path}: {one}" for one in file.surprises]
        raise JobFileError([f"{file.path}: {plan.job.name}: {error}", *named]) from None
    return []


def _lacking(extra: str, error: ImportError) -> int:
    """Say which extra to install."""
    remark(f"this command needs gpuquery[{extra}]: pip install 'gpuquery[{extra}]' ({error})")
    return INVALID
