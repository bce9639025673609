"""Moves a branch of a table to a snapshot that is there: forward to publish what was written apart, or back.

One request to the catalog decides. It names the table and where the branch is now, so of two that move it one has to
look again. An answer that is lost is looked for in the table: a branch that was moved forward has the new snapshot in
its history, and one that was moved back lacks the old one.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.api.output import MAIN_BRANCH
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import said
from gpuquery.runner.output.tables.iceberg import marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog

PATIENCE = 120.0
"""Seconds for which a catalog is asked again that fails, or whose table others change faster."""
_SHOWN = 5


@dataclass(frozen=True)
class Move:
    """What becomes of a branch."""

    branch: str
    was: int | None
    """Its snapshot; None: it is `main` of a table that has no snapshot there yet."""
    now: int
    steps: int
    """How many snapshots lie between; negative if it goes back."""
    drop: str = ""
    """A branch that is removed by the same request."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to ask for."""
        return bool(self.steps or self.drop)

    def stands(self, metadata: Any) -> bool:
        """Whether it was carried out, whatever came after it."""
        found = line(metadata, _end(metadata, self.branch))
        there = self.was not in found if self.steps < 0 else self.now in found
        return there and self.drop not in metadata.refs


def publish(catalog: Catalog, branch: str, to: str = MAIN_BRANCH, *, drop: bool = False) -> Move:
    """Move the branch `to` to the end of another one that goes on from it. Raises JobError: InvalidPlan, UserError."""
    if branch == to or (drop and branch == MAIN_BRANCH):
        what = f"{branch} cannot be published to itself" if branch == to else f"{branch} is never dropped"
        raise catalog.asked.error(Failure.INVALID_PLAN, f"{what}: name another branch")

    def plan(metadata: Any) -> Move:
        now, was = _found(catalog, metadata, branch), _found(catalog, metadata, to)
        if now is None:
            raise _unknown(catalog, metadata, branch)
        gone = branch if drop else ""
        ahead, behind = line(metadata, now), line(metadata, was)
        if now in behind:
            return Move(to, was, behind[0], 0, gone)
        if was is not None and was not in ahead:
            raise _apart(catalog, metadata, was, branch, to)
        return Move(to, was, now, ahead.index(was) if was is not None else len(ahead), gone)

    return _carried_out(catalog, plan)


def rollback(catalog: Catalog, snapshot: int) -> Move:
    """Move `main` back to a snapshot of its history. Raises JobError: InvalidPlan where it is not in it."""

    def plan(metadata: Any) -> Move:
        was = _end(metadata, MAIN_BRANCH)
        found = line(metadata, was)
        if was is None or snapshot not in found:
            known = snapshot in {one.snapshot_id for one in metadata.snapshots}
            why = f"it is not in the history of {MAIN_BRANCH}" if known else "the table has no such snapshot"
            text = f"snapshot {snapshot} is no way back: {why}; `gpuquery history` shows what is"
            raise catalog.asked.error(Failure.INVALID_PLAN, text)
        return Move(MAIN_BRANCH, was, snapshot, -found.index(snapshot))

    return _carried_out(catalog, plan)


def line(metadata: Any, snapshot: int | None) -> list[int]:
    """Return a snapshot and those that it was built upon, as far as they are there, from the newest on."""
    parents = {one.snapshot_id: one.parent_snapshot_id for one in metadata.snapshots}
    found: list[int] = []
    while snapshot is not None and snapshot in parents and len(found) < len(parents):
        found.append(snapshot)
        snapshot = parents[snapshot]
    return found


def _end(metadata: Any, branch: str) -> int | None:
    ref = metadata.refs.get(branch)
    return None if ref is None else int(ref.snapshot_id)


def _found(catalog: Catalog, metadata: Any, name: str) -> int | None:
    """Return where a branch is; None for `main` of a table without snapshots. Raises InvalidPlan if there is none."""
    if name in metadata.refs and str(metadata.refs[name].snapshot_ref_type) == "tag":
        raise catalog.asked.error(Failure.INVALID_PLAN, f"{name} is a tag, which does not move: name a branch")
    if name not in metadata.refs and name != MAIN_BRANCH:
        raise _unknown(catalog, metadata, name)
    return _end(metadata, name)


def _carried_out(catalog: Catalog, plan: Callable[[Any], Move]) -> Move:
    """Ask for what `plan` makes of the table's newest state, until it was done. Raises JobError."""
    from pyiceberg import exceptions as known

    unlike = (known.CommitFailedException, known.CommitStateUnknownException)
    deadline = time.monotonic() + PATIENCE
    doubtful: Move | None = None
    for turn in range(1, 1 << 30):
        table = catalog.load()
        if doubtful is not None and doubtful.stands(table.metadata):
            return doubtful
        move = plan(table.metadata)
        if not move.changes:
            return move
        asked = _asked(table.metadata, move)
        try:
            catalog.ask(lambda client: client.commit_table(table, *asked), unlike=unlike, once=True)  # noqa: B023
        except known.CommitFailedException as exc:
            fault = said(exc)
        except (known.CommitStateUnknownException, JobError) as exc:
            if isinstance(exc, JobError) and exc.failure is not Failure.STORAGE_UNAVAILABLE:
                raise
            doubtful, fault = move, said(exc)
        else:
            return move
        if time.monotonic() > deadline:
            break
        time.sleep(random.uniform(0, min(5.0, 0.05 * 2**turn)))  # noqa: S311
    text = f"the catalog has not moved {move.branch} in {turn} tries: {redact(fault)}"
    raise catalog.asked.error(Failure.STORAGE_UNAVAILABLE, text)


def _asked(metadata: Any, move: Move) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Requirements and updates of the request."""
    from pyiceberg.table.refs import SnapshotRefType
    from pyiceberg.table.update import (
        AssertRefSnapshotId,
        AssertTableUUID,
        RemoveSnapshotRefUpdate,
        SetSnapshotRefUpdate,
    )

    requirements: list[Any] = [
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId(ref=move.branch, snapshot_id=move.was),
    ]
    updates: list[Any] = []
    if move.steps:
        ref = metadata.refs.get(move.branch)
        kept = {} if ref is None else ref.model_dump(exclude={"snapshot_id", "snapshot_ref_type"}, exclude_none=True)
        updates.append(
            SetSnapshotRefUpdate(
                ref_name=move.branch, type=SnapshotRefType.BRANCH, snapshot_id=move.now, **kept
            )
        )  # fmt: skip
    if move.drop:
        requirements.append(AssertRefSnapshotId(ref=move.drop, snapshot_id=_end(metadata, move.drop)))
        updates.append(RemoveSnapshotRefUpdate(ref_name=move.drop))
    return tuple(requirements), tuple(updates)


def _unknown(catalog: Catalog, metadata: Any, name: str) -> JobError:
    known = sorted(one for one, ref in metadata.refs.items() if str(ref.snapshot_ref_type) == "branch")
    more = ", ..." if len(known) > _SHOWN else ""
    there = f"it has {clean(', '.join(known[:_SHOWN]), 300)}{more}" if known else "it has none yet"
    return catalog.asked.error(Failure.INVALID_PLAN, f"there is no branch {clean(name, 255)}; {there}")


def _apart(catalog: Catalog, metadata: Any, was: int, branch: str, to: str) -> JobError:
    snapshot = metadata.snapshot_by_id(was)
    told = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary else {}
    by = f" (of job {clean(told[marks.JOB], 200)})" if told.get(marks.JOB) else ""
    return catalog.asked.error(
        Failure.USER_ERROR,
        f"snapshot {was}{by}, where {to} is, is not in the history of {branch}: {to} has moved on since that branch "
        f"began, and to publish it would take that snapshot out of {to}. Run the job again on a fresh branch, which "
        f"begins where {to} is now",
    )
