"""What of a plan costs more, or cannot run, on several GPUs: read from the plan, without the release at hand.

The facts stand in the table of RAPIDS releases. They are about plans as this room compiles them; the preflight, which
has the release's own translator, sees more. What cannot be compiled for a target at all is refused by the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from gpuquery.plan.releases import RELEASES, Way
from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.rows import MAX_COMPUTED_ROWS
from gpuquery.runner.query.sql.compile.unique import has_exactly_one_row
from gpuquery.runner.query.sql.plan import JoinKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.releases import SqlOnGpus
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.unique import Shared
    from gpuquery.runner.query.sql.errors import Place


class Effect(StrEnum):
    """What a restriction comes to."""

    ONE_PARTITION = "runs on one partition, whatever the number of GPUs"
    REFUSED = "cannot run on several GPUs"


@dataclass(frozen=True)
class Restriction:
    """One part of a statement that several GPUs do not share."""

    effect: Effect
    what: str
    """The part, in the words of SQL."""
    place: Place | None = None
    instead: str = ""
    """The way out, if there is one."""

    def __str__(self) -> str:
        """As a sentence."""
        return f"{self.what} {self.effect}" + (f": {self.instead}" if self.instead else "")


def restrictions(statement: plan.Statement, target: Target) -> tuple[Restriction, ...]:
    """Return what several GPUs do not share, in the order of the plan from its result; nothing for other targets."""
    facts = target.facts
    if facts is None or not target.distributed:
        return ()
    found = _found(statement.relation, {}, facts, _reads_all(str(target.release)))
    return tuple(dict.fromkeys(found))


def _reads_all(release: str) -> bool:
    """Whether ranks run the query each for itself, so that a table of the query's own comes out once for each."""
    known = RELEASES.get(release)
    return known is not None and any(cell.way is Way.SPMD for cell in known.cells.values())


def _found(node: plan.Relation, shared: Shared, facts: SqlOnGpus, reads_all: bool) -> Iterator[Restriction]:
    yield from _own(node, shared, facts, reads_all)
    if isinstance(node, plan.Limit) and not node.offset and isinstance(node.input, plan.Sort):
        node = node.input  # each partition keeps its own first rows
    if isinstance(node, plan.With):
        yield from _found(node.shared, shared, facts, reads_all)
        yield from _found(node.body, {**shared, node.number: node.shared}, facts, reads_all)
        return
    for below in node.inputs:
        yield from _found(below, shared, facts, reads_all)


def _own(node: plan.Relation, shared: Shared, facts: SqlOnGpus, reads_all: bool) -> Iterator[Restriction]:
    match node:
        case plan.Limit() if node.offset:
            yield Restriction(Effect.ONE_PARTITION, "OFFSET")
        case plan.Sort() if not facts.sorts and node.keys:
            yield Restriction(Effect.ONE_PARTITION, "ORDER BY", node.keys[0].value.place, "engine tasks shares it")
        case plan.Join() if (words := _product(node, shared)) is not None:
            yield Restriction(Effect.ONE_PARTITION, words, node.condition.place if node.condition else None)
        case plan.Window():
            yield from _windows(node, facts)
        case plan.Aggregate():
            for call in node.calls:
                if call.function not in facts.aggregates:
                    yield Restriction(Effect.ONE_PARTITION, f"{call.function}()", call.place)
        case plan.Values() if reads_all and len(node.rows) > MAX_COMPUTED_ROWS:
            what = f"VALUES of more than {MAX_COMPUTED_ROWS} rows"
            instead = "write the rows as parquet and declare them in inputs, or use cluster: single"
            yield Restriction(Effect.REFUSED, what, instead=instead)


def _windows(node: plan.Window, facts: SqlOnGpus) -> Iterator[Restriction]:
    for call in node.calls:
        words = f"the window of {call.function}()"
        if not call.partition:
            yield Restriction(Effect.ONE_PARTITION, words, call.place, "give it PARTITION BY")
        elif not facts.windows:
            yield Restriction(Effect.ONE_PARTITION, words, call.place)


def _product(node: plan.Join, shared: Shared) -> str | None:
    """Name a join that pairs all rows with all: nothing tells partitions which rows they need."""
    if any(match.operator in ("=", "is not distinct from") for match in node.matches):
        return None
    if node.kind in (JoinKind.SEMI, JoinKind.ANTI, JoinKind.MARK) and not node.matches and node.condition is None:
        return None  # only whether there is a row
    if has_exactly_one_row(node.left, shared) or has_exactly_one_row(node.right, shared) or _one_at_most(node):
        return None
    alone = not node.matches and node.condition is None
    return "a cross join" if alone else "a join without a condition by ="


def _one_at_most(node: plan.Join) -> bool:
    """Whether the join itself makes one row of its right side."""
    return node.kind == JoinKind.SINGLE and not node.matches and node.condition is None
