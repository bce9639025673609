"""Rollback: makes a table what it was at an earlier version, by a new version, never by changing an old one.

Only files that came later are taken away. What an overwrite has deleted is gone, so there is no way back over one; that
is said before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from gpuquery.plan.plan import JobRef
from gpuquery.runner.output.commit import Committer, Hook, no_hook
from gpuquery.runner.output.modes import Result, Rollback

if TYPE_CHECKING:
    from gpuquery.runner.output.record import CommitRecord
    from gpuquery.runner.stores.base import Store

NAME = "gpuquery-rollback"
"""Stands in the log for the job."""


def rollback(store: Store, to: int, hook: Hook = no_hook) -> CommitRecord:
    """Commit and publish the rollback. Raises JobError(InvalidPlan) with the reason where there is no way back."""
    committer = Committer(store, JobRef(namespace="", name=NAME, uid=str(uuid4())), 1, Rollback(to), hook)
    committer.log.refresh()
    known = to in {entry.version for entry in committer.log.tables()}
    then = committer.log.read([to])[0] if known else None
    result = Result((), then.columns, then.partition_by) if then else Result((), ())
    return committer.commit(result).record
