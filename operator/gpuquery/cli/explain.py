"""`gpuquery explain`: how the SQL of a job will run, and which engines and releases can run it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.cli import picture
from gpuquery.cli.jobfile import JobFile, JobFileError
from gpuquery.cli.show import remark, say
from gpuquery.cli.supposed import overridden, resolved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.query.sql.explanation import Explanation, Verdict


@dataclass(frozen=True)
class Explained:
    """One job: its plan, and the explanation or the error."""

    name: str
    plan: Plan
    explanation: Explanation | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        found = self.explanation
        if found is None:
            return {"job": self.name, "problem": self.problem}
        verdicts = [
            {"where": one.where, "able": not one.refusal, "because": one.refusal or None, "alone": list(one.alone)}
            for one in found.verdicts
        ]
        return {"job": self.name, "plan": found.tree, "where": verdicts}


def explained(file: JobFile, job: GpuQueryJob, chosen: argparse.Namespace) -> Explained:
    """Explain a job; raises JobFileError for one that would be rejected."""
    from gpuquery.runner import local
    from gpuquery.runner.failures.errors import JobError

    plan = overridden(resolved(file, job), chosen)
    try:
        return Explained(job.metadata.name, plan, local.explain(plan))
    except JobError as error:
        return Explained(job.metadata.name, plan, problem=str(error))


def show(found: Sequence[Explained], *, form: str) -> None:
    """Print them; errors go to standard error. Raises JobFileError for a picture of several jobs."""
    for one in found:
        if one.problem and form != "json":
            remark(f"{one.name}: {one.problem}")
    good = [(one.name, one.explanation) for one in found if one.explanation]
    match form:
        case "json":
            print(json.dumps([one.as_json() for one in found], indent=2))
        case "text":
            for name, explanation in good:
                for line in _lines(name, explanation):
                    say(line)
        case _:
            if len(found) > 1:
                raise JobFileError([f"-o {form} is a picture of one job, and the file has {len(found)}"])
            for name, explanation in good:
                draw = picture.dot if form == "dot" else picture.svg
                sys.stdout.write(draw(explanation.step, name))


def _lines(name: str, explanation: Explanation) -> Iterator[str]:
    yield name
    for line in explanation.tree.splitlines():
        yield f"  {line}"
    yield ""
    able = [one.where for one in explanation.verdicts if not one.refusal]
    yield f"  runs on    {', '.join(able) or 'nothing'}"
    for one in explanation.verdicts:
        if one.refusal:
            yield f"  not on     {one.where}: {one.refusal}"
    for one in explanation.verdicts:
        for part in one.alone:
            yield f"  on {_releases(one)}, {part}"


def _releases(verdict: Verdict) -> str:
    return f"several GPUs of {verdict.where}"
