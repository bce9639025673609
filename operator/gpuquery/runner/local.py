"""Plans without Kubernetes: the same attempt, sink and commit, in this process. And tables, for people to look at."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.receipt import RECEIPTS
from gpuquery.api.report import Progress, Report
from gpuquery.plan.plan import Language, Plan, Purpose
from gpuquery.runner import inputs, stores
from gpuquery.runner.attempt import Attempt, Review
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck, rollback
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.output.log import Log
from gpuquery.runner.output.tables import named
from gpuquery.runner.output.tables.delta import history as commits
from gpuquery.runner.output.tables.delta import rollback as restoring
from gpuquery.runner.preflight import contracts, release
from gpuquery.runner.progress import Tracker
from gpuquery.runner.query import queries
from gpuquery.runner.stores.base import DATA, STAGING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.api.receipt import Receipt
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.output.record import CommitRecord
    from gpuquery.runner.output.tables.delta.rollback import Restored
    from gpuquery.runner.output.tables.iceberg.publish import Move
    from gpuquery.runner.output.tables.versions import Version
    from gpuquery.runner.query.sql.explanation import Explanation
    from gpuquery.runner.stores.base import Store


def run(plan: Plan, *, on_progress: Callable[[Progress], None]) -> Report:
    """Run a plan to its end; `on_progress` is called from another thread, at most twice a second and on every phase.

    On Ctrl-C what was staged is withdrawn, then KeyboardInterrupt goes on to the caller.
    """
    try:
        release.check(plan, release.MACHINE)  # the attempt would say it of an image
    except JobError as error:
        return Report(failure=error.failure, message=error.message, finished=datetime.now(UTC))
    return _to_its_end(Attempt(plan, Tracker(on_progress, quiet=True)))


def preflight(plan: Plan, *, runs_code: bool) -> Report:
    """Check a plan as its preflight's pod would; what only that pod could tell is told to be skipped.

    Without `runs_code` nothing of a Python query is run, so what it makes of its inputs is not checked.
    """
    asking = plan.model_copy(update={"purpose": Purpose.PREFLIGHT})
    with contextlib.ExitStack() as stack:
        for uri in plan.output.places:
            stack.enter_context(stores.of(uri).leaving_nothing(stores.locate(uri)))
        return _to_its_end(Attempt(asking, Tracker(lambda _: None, quiet=True), review=Review(runs_code)))


def history(name: str, access: StoreAccess, *, last: int) -> Sequence[CommitRecord | Version]:
    """Return the newest commits to a table, at most so many, newest first. Raises JobError.

    `name` is the `output.uri` of a folder or of a Delta table, or `CATALOG:NAMESPACE.TABLE`.
    """
    if (catalog := named.iceberg(name, access)) is not None:
        from gpuquery.runner.output.tables.iceberg import history as snapshots

        return snapshots.history(catalog, last)
    root, store = _table(name, access)
    if (target := named.delta(root, access, store)) is not None:
        return commits.history(target, last)
    log = Log(store)
    log.refresh()
    return log.read([entry.version for entry in log.tables()][: -last - 1 : -1])


def receipt(uri: str, access: StoreAccess, uid: str = "") -> Receipt:
    """Return the receipt of a job at an `output.uri`, without a UID the newest one. Raises JobError."""
    _, store = _table(uri, access)
    if not uid:
        newest = max(store.list(RECEIPTS), key=lambda one: one.modified, default=None)
        if newest is None:
            raise JobError(Failure.INVALID_PLAN, f"there is no receipt below {RECEIPTS}: write the output.uri of a job")
        uid = newest.key.removeprefix(RECEIPTS).removesuffix(".json")
    found = receipts.read(store, uid)
    if isinstance(found, str):
        raise JobError(Failure.INVALID_PLAN, found)
    return found


def check_table(
    uri: str, access: StoreAccess, *, deep: bool = False, repair: bool = False, void: int | None = None
) -> fsck.Health:
    """Take back a version and repair, if asked to, then check the table at an `output.uri`. Raises JobError."""
    _, store = _table(uri, access)
    if void is not None:
        fsck.void(store, void)
    if repair:
        fsck.repair(store)
    return fsck.check(store, deep=deep)


def roll_back(name: str, access: StoreAccess, to: int) -> CommitRecord | Restored | Move:
    """Make a table what it was at a version. Raises JobError. `name` is as for `history`."""
    if (catalog := named.iceberg(name, access)) is not None:
        from gpuquery.runner.output.tables.iceberg import publish as branches

        return branches.rollback(catalog, to)
    root, store = _table(name, access)
    if (target := named.delta(root, access, store)) is not None:
        return restoring.rollback(target, to)
    return rollback.rollback(store, to)


def publish(name: str, access: StoreAccess, branch: str, to: str, *, drop: bool) -> Move:
    """Move a branch of an Iceberg table, `CATALOG:TABLE`, to the end of another one. Raises JobError."""
    from gpuquery.runner.output.tables.iceberg import publish as branches

    if (catalog := named.iceberg(name, access)) is None:
        raise JobError(Failure.INVALID_PLAN, "only Iceberg tables have branches: write CATALOG:NAMESPACE.TABLE")
    return branches.publish(catalog, branch, to, drop=drop)


def _table(uri: str, access: StoreAccess) -> tuple[str, Store]:
    """Open the folder of a table, by its own URI or that of its files; returns its URI too."""
    root = uri.rstrip("/").removesuffix(f"/{DATA.rstrip('/')}")
    store, _ = stores.of(root).table(stores.locate(root), access, staging=f"{STAGING}fsck/1", stop=threading.Event())
    return root, store


def explain(plan: Plan) -> Explanation:
    """Explain the SQL of a plan over its inputs, of which only schemas and footers are read; raises JobError.

    What is no SQL of our planner has no plan of ours: it is refused.
    """
    query = queries.prepare(plan) if plan.language is Language.SQL else None
    if not isinstance(query, queries.Sql):
        word = "Python" if query is None else "Polars' own SQL"
        message = f"{word} has no plan here: gpuquery plan says whether the query can run, and where"
        raise JobError(Failure.INVALID_QUERY, message)
    stores.check([uri for item in plan.inputs for uri in item.places], plan.store)
    resolved = inputs.resolve(plan.inputs, plan.store, plan.snapshots)
    contracts.check(resolved)
    return query.explain(inputs.frames(resolved, plan.store), resolved)


def _to_its_end(attempt: Attempt) -> Report:
    try:
        return attempt.run()
    except KeyboardInterrupt:
        report = attempt.stop("interrupted")
        if report.committed is not None:
            return report
        raise
