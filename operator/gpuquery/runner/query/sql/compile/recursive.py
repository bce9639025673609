"""WITH RECURSIVE: rounds over what the round before has found, until one finds nothing new.

How many rounds there are is known only while the query runs, so that Polars calls back for the rows (`pl.defer`).
Planning and the preflight see the columns alone. Engines on GPUs have nothing of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.groups import distinct_rows
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Recursive
    from gpuquery.runner.query.sql.types import Type

MAX_ROUNDS = 10_000
MAX_ROWS = 10_000_000
MAX_BYTES = 2**30
"""What a recursion may need: beyond it most of them never end, and Polars ends the process where memory ends."""


def recursive(node: Recursive, base: Compiled, step: Callable[[Compiled], Compiled], target: Target) -> Compiled:
    """Compile a recursion: `step` compiles one round over what the round before has found."""
    if target.gpu:
        raise SqlError(
            f'WITH RECURSIVE ("{node.name}") runs in rounds, which GPU engines do not support: use engine: cpu'
        )
    names = unique_names(field.name for field in node.fields)
    types = tuple(field.type for field in node.fields)
    rounds = _Rounds(node, step, names, types)
    start = rounds.fitted(base)
    rounds.fitted(
        step(Compiled(pl.LazyFrame(schema=rounds.schema), names, types))
    )  # so that it is refused now, if ever
    frame = pl.defer(lambda: rounds.run(start), schema=pl.Schema(rounds.schema))
    return Compiled(frame, names, types)


@dataclass(frozen=True)
class _Rounds:
    """One recursion, while it runs."""

    node: Recursive
    step: Callable[[Compiled], Compiled]
    names: tuple[str, ...]
    types: tuple[Type, ...]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns."""
        return {name: dtype_of(kind) for name, kind in zip(self.names, self.types, strict=True)}

    def fitted(self, found: Compiled) -> pl.LazyFrame:
        """Return a round's rows under the names of all rounds."""
        columns = zip(found.names, self.schema.items(), strict=True)
        return found.frame.select(pl.col(old).cast(dtype).alias(new) for old, (new, dtype) in columns)

    def run(self, start: pl.LazyFrame) -> pl.DataFrame:
        """Run rounds until one finds nothing; without ALL, until one finds nothing new."""
        found = new = self._new(start, None)
        rounds = 1
        while new.height:
            self._bounded(rounds, found)
            below = Compiled(new.lazy(), self.names, self.types)
            new = self._new(self.fitted(self.step(below)), found)
            found = found.vstack(new)
            rounds += 1
        return found

    def _new(self, rows: pl.LazyFrame, known: pl.DataFrame | None) -> pl.DataFrame:
        if not self.node.all:
            rows = distinct_rows(rows, self.names, self.types, CPU)
            if known is not None:
                rows = rows.join(known.lazy(), on=self.names, how="anti", nulls_equal=True)
        return rows.head(MAX_ROWS + 1).collect(engine="streaming")  # one round may make a million rows of each

    def _bounded(self, rounds: int, found: pl.DataFrame) -> None:
        name = f'WITH RECURSIVE ("{self.node.name}")'
        if rounds > MAX_ROUNDS:
            raise_failure(f"{name} did not end after {MAX_ROUNDS} rounds")
        if found.height > MAX_ROWS:
            raise_failure(f"{name} has more than {MAX_ROWS} rows")
        if found.estimated_size() > MAX_BYTES:
            raise_failure(f"{name} has rows of more than {MAX_BYTES} bytes")


def raise_failure(message: str) -> None:
    """Fail as an expression of the statement does."""
    pl.select(fail_where(pl.lit(True), pl.lit(True), message))
