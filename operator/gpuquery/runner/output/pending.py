"""What all ranks of an attempt have staged, brought together by rank 0, and the texts that they leave each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import spool
from gpuquery.runner.output.expect import Staged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.output.expect import Expectations
    from gpuquery.runner.output.kept import Keeper
    from gpuquery.runner.output.record import PendingSet, StagedFile
    from gpuquery.runner.output.tables.base import Asked, Table


@dataclass(frozen=True)
class Totals:
    """What one rank has staged."""

    rows: int = 0
    files: int = 0
    bytes: int = 0


class Pending:
    """The pending sets of an attempt, of which `own` is this rank's."""

    def __init__(self, table: Table, asked: Asked) -> None:
        self._table = table
        self._me = asked.identity
        self._staging = asked.staging
        self._own: PendingSet | None = None
        self._kept: Sequence[Path] = ()
        self._sets: Sequence[PendingSet] | None = None

    @property
    def written(self) -> bool:
        """Whether this rank's is there."""
        return self._own is not None

    def write(self, own: PendingSet, kept: Sequence[Path], keeper: Keeper) -> Totals:
        """Write this rank's, and leave rank 0 what is kept for the expectations."""
        self._own, self._kept = own, kept
        store, stem = self._table.store, self.stem(self._me.rank)
        if self._me.rank != 0:
            keeper.hand_over(store, stem, kept)
        store.put(f"{stem}.json", own.model_dump_json().encode())
        return totals(own.files)

    def stem(self, rank: int) -> str:
        """Beginning of the keys of what a rank stages."""
        return f"{self._staging}/rank-{rank:05d}"

    def sets(self, told: Sequence[Totals]) -> Sequence[PendingSet]:
        """All pending sets, by rank, fetched once; raises InternalError if they are not what the ranks have told."""
        if told and len(told) != self._me.ranks:
            text = f"{len(told)} ranks have told what they staged, and there are {self._me.ranks}"
            raise JobError(Failure.INTERNAL_ERROR, text)
        if self._sets is None:
            self._sets = self._table.store.parallel(self._fetch, range(self._me.ranks))
        for rank, one in enumerate(self._sets if told else ()):
            _check(rank, totals(one.files), told[rank])
        return self._sets

    def files(self, told: Sequence[Totals]) -> list[StagedFile]:
        """All files of all ranks."""
        return [file for one in self.sets(told) for file in one.files]

    def staged(self, told: Sequence[Totals], expectations: Expectations, keeper: Keeper) -> Staged:
        """Bring what the expectations need of all ranks to this one."""
        sets = self.sets(told)
        theirs = {self.stem(rank): one.kept for rank, one in enumerate(sets) if rank != self._me.rank}
        kept = [*self._kept, *keeper.gathered(self._table.store, theirs)]
        rows = sum(file.rows for one in sets for file in one.files)
        if expectations.columns and (found := sum(map(spool.rows, kept))) != rows:
            message = f"output.expect: {found} rows were kept to be checked, and {rows} were staged"
            raise JobError(Failure.INTERNAL_ERROR, message)
        nulls = {name: sum(one.nulls.get(name, 0) for one in sets) for name in expectations.counted}
        return Staged(rows, nulls, kept, keeper.folder)

    def share(self, text: str) -> dict[str, str]:
        """Leave a text for the other ranks; returns what `shared` takes."""
        body = text.encode()
        self._table.store.put(self._shared_key, body)
        return {"sha256": hashlib.sha256(body).hexdigest()}

    def shared(self, told: Mapping[str, str]) -> str:
        """Read the text that rank 0 has left. Raises InternalError if it is not the one that rank 0 means."""
        body = self._table.store.get(self._shared_key)
        if body is None or hashlib.sha256(body).hexdigest() != told["sha256"]:
            what = "is missing" if body is None else "is not what rank 0 wrote"
            raise JobError(Failure.INTERNAL_ERROR, f"the list of inputs, {self._shared_key}, {what}")
        return body.decode()

    @property
    def _shared_key(self) -> str:
        return f"{self.stem(0)}.inputs"

    def _fetch(self, rank: int) -> PendingSet:
        if rank == self._me.rank and self._own is not None:
            return self._own
        key = f"{self.stem(rank)}.json"
        if (body := self._table.store.get(key)) is None:
            raise JobError(Failure.INTERNAL_ERROR, f"rank {rank} has written no pending set: {key} is missing")
        return self._table.read_pending(key, body)


def totals(files: Sequence[StagedFile]) -> Totals:
    """Add up files."""
    return Totals(sum(file.rows for file in files), len(files), sum(file.bytes for file in files))


def _check(rank: int, found: Totals, told: Totals) -> None:
    if found != told:
        raise JobError(
            Failure.INTERNAL_ERROR,
            f"the pending set of rank {rank} does not add up: it has {found.rows} rows in {found.files} files "
            f"of {found.bytes} bytes, and the rank told of {told.rows} rows in {told.files} "
            f"files of {told.bytes} bytes; nothing was committed",
        )
