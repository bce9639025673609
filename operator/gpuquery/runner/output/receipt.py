"""The receipt of an attempt: made from its plan and inputs before it runs, filled in once it has committed.

It is written after the commit, which stands without it. What is there before the commit (the draft) also answers
whether an earlier commit can be reused (reuse.py).
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distributions, version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpuquery.api.choices import Dialect
from gpuquery.api.receipt import (
    MAX_RECEIPT_BYTES,
    Receipt,
    ReceiptClaim,
    ReceiptInput,
    ReceiptJob,
    ReceiptQuery,
    parameter_text,
    receipt_key,
    shown_value,
    unreadable,
    value_text,
    written,
)
from gpuquery.plan.plan import DaskWay, Language
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import hidden, redact
from gpuquery.runner.failures.words import named, storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.api.status import OutputStatus
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.inputs import Resolved
    from gpuquery.runner.output.record import ReadInput
    from gpuquery.runner.query.queries import Query
    from gpuquery.runner.stores.base import Store

_LOG = logging.getLogger(__name__)
PLANNING, RUNNING, COMMITTING = "planning", "running", "committing"
NOTHING: Mapping[str, Any] = MappingProxyType({})


def draft(plan: Plan, query: Query, inputs: Mapping[str, Resolved]) -> Receipt:
    """Return the receipt of an attempt that has not run: all that decides what comes out."""
    return Receipt(
        job=ReceiptJob(namespace=plan.job.namespace, name=plan.job.name, uid=plan.job.uid),
        attempt=plan.attempt,
        query=ReceiptQuery(
            language=plan.language.value,
            dialect=plan.dialect.value if plan.language is Language.SQL else "",
            sha256=_sha(query.normal),
            text=_sha(plan.query),
        ),
        parameters=_shown({name: parameter_text(value) for name, value in plan.parameters.items()}),
        inputs=tuple(_input(one) for one in inputs.values()),
        engine=plan.engine,
        options=_shown({name: value_text(value) for name, value in (plan.asked_options or {}).items()}),
        release=plan.release,
        software=_software(plan),
        asked=plan.image or "",
        output=_shown(written(plan.output, plan.store.sse_kms_key_id)),
        uri=plan.output.shown,
        cluster=plan.cluster,
        gpus=plan.workers,
    )


def filled(
    before: Receipt,
    committed: OutputStatus,
    seconds: Mapping[str, float],
    told: Mapping[str, Any] = NOTHING,
    asked: int | None = None,
) -> Receipt:
    """Return the receipt of a commit; `told` has further fields of it: warnings, expectations, processes.

    `asked` is how many GPUs the job's pods asked for; None: all that ran the query.
    """
    held = before.gpus if asked is None else asked
    found = before.model_dump(by_alias=False) | {
        "version": committed.version or 0,
        "snapshot": committed.snapshot,
        "rows": committed.rows,
        "bytes": committed.bytes,
        "files": committed.files,
        "partitions": committed.partitions,
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
        "gpu_seconds": {phase: round(value * held, 3) for phase, value in seconds.items()},
        "created": datetime.now(UTC),
    }
    return Receipt.model_validate(found | dict(told))


def recovered(
    store: Store, plan: Plan, query: Query, committed: OutputStatus, read_then: Sequence[ReadInput]
) -> ReceiptClaim | None:
    """Return the claim of the receipt of a commit that an earlier attempt has made; write one if there is none.

    That one says what is certain: what the job asks for, what the commit is, and what its record says was read. The
    commit stands without it, so what fails here is only logged.
    """
    try:
        before = draft(plan, query, {})
        found = read(store, plan.job.uid)
        if isinstance(found, Receipt) and _is_of(found, before, committed):
            return claim(found)
        then = {one.name: one for one in read_then}
        inputs = [_unread(item, plan.snapshots.get(item.name, ""), then.get(item.name)) for item in plan.inputs]
        made = filled(before, committed, {}, {
            "attempt": 0,
            "inputs": tuple(inputs),
            "gpus": 0,
            "varies": "nobody has looked",
            "expectations": committed.expectations,
            "warnings": (f"attempt {plan.attempt} wrote this receipt: the one that committed died before it could",),
        })  # fmt: skip
        leave(store, made)
    except Exception as exc:
        _LOG.warning("cannot recover the receipt of job %s: %s", plan.job.uid, redact(named(exc)))
        return None
    return claim(made)


def _is_of(found: Receipt, draft: Receipt, committed: OutputStatus) -> bool:
    """Whether a receipt is the one that an attempt of the same job left for a commit."""
    same = (found.job, found.query.text) == (draft.job, draft.query.text)
    return same and is_of_commit(found, committed)


def is_of_commit(found: Receipt, committed: OutputStatus) -> bool:
    """Whether a receipt says that it is of a commit."""
    told = found.version, found.snapshot, found.rows, found.files, found.bytes
    return told == (committed.version or 0, committed.snapshot, committed.rows, committed.files, committed.bytes)


def asked(plan: Plan) -> int:
    """Return the GPUs that the pods of a job ask for: those of somebody else's Dask cluster are none."""
    return 0 if plan.dask is not None and plan.dask.way is DaskWay.ATTACH else plan.workers


def claim(receipt: Receipt) -> ReceiptClaim:
    """Return what the report of the pod says of a receipt."""
    whole = receipt.attempt > 0  # else it was recovered, and what was read is not certain
    key = receipt.key if whole else None
    return ReceiptClaim(query=receipt.query.sha256, key=key, committing=receipt.seconds.get(COMMITTING))


class Stopwatch:
    """Seconds of the phases of an attempt, by this machine's clock."""

    def __init__(self) -> None:
        """Begin with planning."""
        self._marks = {PLANNING: time.monotonic()}

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._marks[phase] = time.monotonic()

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase, the last one until now."""
        begun = [*self._marks.values(), time.monotonic()]
        return {phase: end - start for phase, start, end in zip(self._marks, begun, begun[1:], strict=False)}


def to_json(receipt: Receipt) -> bytes:
    """Write a receipt; what the processes have contributed is left out where it is too much."""
    body = receipt.model_dump_json(by_alias=True, indent=1, exclude_defaults=True).encode()
    if len(body) <= MAX_RECEIPT_BYTES or not receipt.processes:
        return body
    return to_json(receipt.model_copy(update={"processes": ()}))


def read(store: Store, uid: str) -> Receipt | str:
    """Read the receipt of a job's commit; where there is none that can be used, say why. Raises JobError of the store.

    Whoever may write to the table may have written it.
    """
    key = receipt_key(uid)
    size = store.size(key)
    if size is None:
        return f"{key} is not there"
    if size > MAX_RECEIPT_BYTES:
        return f"{key} has {size:,} bytes, and the longest receipt {MAX_RECEIPT_BYTES:,}"
    try:
        return Receipt.model_validate_json(store.get(key) or b"")
    except ValidationError as error:
        return f"{key} {unreadable(error)}"


def leave(store: Store, receipt: Receipt) -> None:
    """Write a receipt. The commit stands without it, so a store that fails is only logged."""
    try:
        store.put(receipt_key(receipt.job.uid), to_json(receipt))
    except JobError as exc:
        _LOG.warning("cannot write the receipt of job %s: %s", receipt.job.uid, exc.message)


def _input(one: Resolved) -> ReceiptInput:
    told = {"files": len(one.files), "bytes": one.bytes, "digest": one.digest, "snapshot": one.snapshot}
    return _asked(one.item).model_copy(update=told)


def _unread(item: Input, snapshot: str, then: ReadInput | None) -> ReceiptInput:
    """Say what is known of an input that this attempt has not looked at."""
    told = {"snapshot": snapshot} if then is None else then.model_dump(exclude={"name"})
    return ReceiptInput.model_validate(_asked(item).model_dump() | told)


def _asked(item: Input) -> ReceiptInput:
    how = item.model_dump(mode="json", by_alias=True, exclude={"name", "uri", "uris", "table"}, exclude_none=True)
    place = shown_value(storable(redact(item.shown)))
    return ReceiptInput(name=item.name, place=place, reading=_sha(json.dumps(how, sort_keys=True)))


def _shown(values: Mapping[str, str]) -> dict[str, str]:
    """Return values without the credentials of this pod, each still another one for another value."""
    return {name: _seen(storable(text)) for name, text in values.items()}


def _seen(text: str) -> str:
    seen = hidden(text)
    return shown_value(seen) if seen == text else f"{shown_value(seen)} (SHA-256 {_sha(text)[:12]})"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _software(plan: Plan) -> dict[str, str]:
    """Versions of what decides what a query gives, beside the engine's release."""
    found = {"gpuquery": _version("gpuquery"), "polars": _version("polars")}
    if plan.language is Language.PYTHON:
        found["python"] = ".".join(platform.python_version_tuple()[:2])
    elif plan.dialect is not Dialect.POLARS:
        found["duckdb"] = _version("duckdb")  # it binds
    if plan.image is not None and "@" not in plan.image:
        found["packages"] = _packages()
    return found


@functools.cache
def _packages() -> str:
    """Return a digest of all Python packages here: a tag may name another image the next day."""
    there = sorted({f"{one.name}=={one.version}" for one in distributions()})
    return f"{len(there)}, SHA-256 {_sha(' '.join(there))[:16]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
