"""What `gpuquery explain` shows of a statement: its plan, and which targets can run it.

The compiler, which knows what each release translates, says whether a release can run it, for every release of
the table. No release has to be installed for that; the preflight asks the release itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from gpuquery.plan.releases import RELEASES
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import polars as pl

    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.plan import Statement
    from gpuquery.runner.query.sql.rules import Statistics
    from gpuquery.runner.query.sql.rules.explain import Step


@dataclass(frozen=True)
class Verdict:
    """Whether a target can run a statement. Releases with the same answer share one verdict."""

    where: str
    """`cpu`, or RAPIDS releases: `RAPIDS 26.04 to 26.10`."""
    refusal: str = ""
    """Why not; empty if they can."""
    alone: tuple[str, ...] = ()
    """Parts that run on one partition where several GPUs share the work."""


@dataclass(frozen=True)
class Explanation:
    """One statement."""

    step: Step
    """Its plan as steps, the result first."""
    tree: str
    """The same as text."""
    verdicts: tuple[Verdict, ...]

    @property
    def able(self) -> tuple[str, ...]:
        """Who can run it."""
        return tuple(one.where for one in self.verdicts if not one.refusal)


def explained(
    statement: Statement,
    frames: Mapping[str, pl.LazyFrame],
    statistics: Statistics | None,
    at: Callable[[Place | None], str],
) -> Explanation:
    """Explain a statement that the rules have gone over; `at` writes a place as `line 3, column 12: `."""
    from gpuquery.runner.query.sql.rules import explain

    step = explain.steps(statement, statistics)
    found = [("cpu", *_judged(statement, frames, CPU, at))]
    found += [(name, *_judged(statement, frames, Target(name, distributed=True), at)) for name in RELEASES]
    return Explanation(step, explain.tree(statement, statistics), tuple(_together(found)))


def _judged(
    statement: Statement,
    frames: Mapping[str, pl.LazyFrame],
    target: Target,
    at: Callable[[Place | None], str],
) -> tuple[str, tuple[str, ...]]:
    from gpuquery.runner.query.sql.compile import statement as compiler
    from gpuquery.runner.query.sql.compile.partitions import restrictions

    release = RELEASES.get(target.release or "")
    if release is not None and release.sql_unlike:
        return release.sql_unlike, ()
    try:
        compiler.compiled(statement, frames, target)
    except SqlError as exc:
        return f"{at(exc.place)}{exc.message}", ()
    return "", tuple(f"{at(one.place)}{one}" for one in restrictions(statement, target))


def _together(found: Iterable[tuple[str, str, tuple[str, ...]]]) -> Iterable[Verdict]:
    """Merge neighbouring releases of the table that have the same answer into one verdict."""
    for (_, refusal, alone), members in groupby(found, key=lambda one: (one[0] == "cpu", one[1], one[2])):
        names = [name for name, _, _ in members]
        releases = f"RAPIDS {names[0]}" + (f" to {names[-1]}" if len(names) > 1 else "")
        yield Verdict("cpu" if names == ["cpu"] else releases, refusal, alone)
