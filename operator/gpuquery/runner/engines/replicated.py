"""Results that every rank holds in full: which rank writes them.

A global aggregate, a top-k or what follows a broadcast ends up on every rank. Up to 26.08 the actor that writes files
lets every rank write such a result, so its rows come out once for each GPU (cudf#23525); from 26.10 on it lets rank 0
write alone. The actor learns which it is from the metadata of the channel that it reads: `ChannelMetadata.duplicated`,
which every rank gets before the first row (`sink_node` in cudf_polars/streaming/actor_graph/io.py, the only caller of
`recv_metadata` in that module from 26.06 to 26.10). That is heard here. Where it is not heard, nothing is guessed: the
ranks compare what they wrote, and equal results that may be one result twice are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

GATE = "replicated"
MODULE = "cudf_polars.streaming.actor_graph.io"
FUNCTION = "recv_metadata"


def mended(release: str) -> bool:
    """Whether a release writes such a result once by itself; False for one that is not known."""
    return release in releases.safe(EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED)


def _way_out() -> str:
    return f"use runtime.release {' or '.join(releases.safe(EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED))}"


@dataclass(frozen=True)
class Written:
    """What one rank has found out and written."""

    duplicated: bool | None
    """What the library said of the result; None if it was not heard."""
    rows: int
    """Rows in its files."""
    digest: str = ""
    """Fingerprint of its rows; only where `duplicated` is None."""

    def to_json(self) -> list[Any]:
        """As it goes through a gate."""
        return [self.duplicated, self.rows, self.digest]


def keeps(all_written: Sequence[Written], rank: int, release: str) -> bool:
    """Whether the communicator's rank of this number hands over its files, in a release that doubles such results.

    `all_written` has every rank's. Raises JobError(InvalidCombination) where one result twice and two equal results
    cannot be told apart, and InternalError if the ranks contradict each other.
    """
    said = {one.duplicated for one in all_written}
    if said == {True}:
        rows = {one.rows for one in all_written}
        if len(rows) > 1:
            raise JobError(
                Failure.INTERNAL_ERROR,
                f"cudf-polars of RAPIDS {release} says that every rank holds the whole result, but the ranks wrote "
                f"{', '.join(str(one.rows) for one in all_written)} rows: {_way_out()}",
            )
        return rank == 0
    if said == {False}:
        return True
    if True in said:  # with those that did not hear it, it would come out more than once
        raise JobError(
            Failure.INTERNAL_ERROR,
            f"the ranks of RAPIDS {release} contradict each other on whether each of them holds the whole result: "
            f"{_way_out()}",
        )
    first = all_written[0]
    if first.rows > 0 and all((one.rows, one.digest) == (first.rows, first.digest) for one in all_written):
        raise JobError(
            Failure.INVALID_COMBINATION,
            f"all {len(all_written)} ranks wrote the same {first.rows} rows, and RAPIDS {release} does not tell "
            f"whether that is one result once for each GPU (cudf#23525): {_way_out()} or cluster: single",
        )
    return True


def check_mended(duplicated: bool | None, rank: int, files: int, release: str) -> None:
    """Raise JobError(InternalError) if a release that writes such results once has written one on a further rank."""
    if duplicated and rank != 0 and files:
        raise JobError(
            Failure.INTERNAL_ERROR,
            f"rank {rank} wrote {files} files of a result that rank 0 writes too, which RAPIDS {release} should not: "
            "its rows would come out more than once; please report it, and use cluster: single",
        )


class Ear:
    """Hears what the library says of the result, once for each query."""

    def __init__(self, on_heard: Callable[[bool], None] | None = None) -> None:
        """`on_heard` gets it before the first row is written, in a thread of the library; it must not block."""
        self.duplicated: bool | None = None
        """None until it is heard."""
        self._on_heard = on_heard

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while a query runs; a release without that function is left as it is."""
        module = importlib.import_module(MODULE)
        usual = getattr(module, FUNCTION, None)
        if usual is None:
            yield
            return

        async def heard(*args: Any, **kwargs: Any) -> Any:
            metadata = await usual(*args, **kwargs)
            if isinstance(said := getattr(metadata, "duplicated", None), bool):
                self._hear(said)
            return metadata

        setattr(module, FUNCTION, heard)
        try:
            yield
        finally:
            setattr(module, FUNCTION, usual)

    def _hear(self, duplicated: bool) -> None:
        self.duplicated = duplicated
        if self._on_heard is not None:
            self._on_heard(duplicated)


def written(duplicated: bool | None, files: Sequence[Path]) -> Written:
    """Describe this rank's files; their rows are read only where nothing was heard."""
    rows = sum(_rows(file) for file in files)
    return Written(duplicated, rows, _digest(files) if duplicated is None and rows else "")


def read(values: Sequence[Sequence[Any]]) -> list[Written]:
    """Return what came through a gate, as `Written.to_json` made it."""
    return [Written(duplicated=one[0], rows=int(one[1]), digest=str(one[2])) for one in values]


def _rows(file: Path) -> int:
    return int(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item())


def _digest(files: Sequence[Path]) -> str:
    """A fingerprint of rows that does not depend on their order; of the bytes where a column cannot be hashed."""
    try:
        sums = [pl.scan_parquet(file, glob=False).select(_fingerprint(file)).collect().item() for file in files]
        return f"rows:{sum(sums) % 2**64:016x}"
    except pl.exceptions.PolarsError:
        digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
        return "bytes:" + hashlib.sha256("".join(digests).encode()).hexdigest()


def _fingerprint(file: Path) -> pl.Expr:
    names = pl.scan_parquet(file, glob=False).collect_schema().names()
    return pl.struct(names).hash(seed=0).sum()
