"""`gpuquery receipt` and `gpuquery diff`: what a job has run and what came of it, alone or beside another.

A receipt comes from the cluster (the job's status, which has a small one), from the store (the whole one), or from a
file with either.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpuquery.api.differences import differences
from gpuquery.api.receipt import (
    RECEIPTS,
    PhaseSeconds,
    Receipt,
    ReceiptInput,
    ReceiptJob,
    ReceiptQuery,
    ReceiptStatus,
    parameter_text,
    shown_value,
    unreadable,
    value_text,
    written,
)
from gpuquery.api.types import GpuQueryJob
from gpuquery.cli.cluster import Cluster, NoClusterError
from gpuquery.cli.show import say
from gpuquery.plan.plan import StoreAccess
from gpuquery.plan.resolve import store_access

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


class NoReceiptError(Exception):
    """There is no such receipt; the message says why."""


def found(text: str, chosen: argparse.Namespace) -> Receipt:
    """Return the receipt that an argument names; raises NoReceiptError, or ImportError without the runner."""
    try:
        if "://" in text:
            return _stored(text, _access(chosen))
        if text.endswith(".json") or Path(text).is_file():
            return _filed(Path(text), chosen)
        return _of_cluster(text, chosen)
    except NoReceiptError as error:
        raise NoReceiptError(f"{text}: {error}") from None


def show(receipt: Receipt, *, as_json: bool) -> None:
    """Print a receipt."""
    if as_json:
        print(receipt.model_dump_json(by_alias=True, indent=1, exclude_defaults=True))
        return
    rows = [(label, value) for label, value in _rows(receipt) if value]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        say(f"{label.ljust(width)}  {value}")


def compare(then: Receipt, now: Receipt, *, as_json: bool) -> bool:
    """Print what differs between two receipts; returns whether anything does."""
    told = list(differences(then, now))
    if as_json:
        print(json.dumps([{"what": one.what, "text": one.text, "rows": one.rows} for one in told], indent=2))
    elif not told:
        say("nothing differs")
    else:
        for one in told:
            say(f"{'rows' if one.rows else 'rest'}  {one.text}")
    return bool(told)


def of_job(job: GpuQueryJob) -> Receipt:
    """Return what the object of a job tells; raises NoReceiptError if it has committed nothing."""
    spec, status = job.spec, job.status
    small, out, plan = status.receipt, status.output, status.plan
    if out is None:
        state = f"it is {status.state}" if status.state else "it has no status"
        raise NoReceiptError(f"job {job.metadata.name} has no receipt: {state}, and only a commit has one")
    if small is None or small.query is None:
        raise NoReceiptError(
            f"the status of job {job.metadata.name} has none: its pod told nothing of it, or an older operator wrote "
            "it. --uri reads the whole one from the output, if there is one"
        )
    read = {one.name: one for one in status.inputs}
    return Receipt(
        job=ReceiptJob(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        attempt=status.attempt or 0,
        query=ReceiptQuery(
            language="sql" if plan is None or plan.dialect else "python",
            dialect=(plan.dialect if plan else None) or "",
            sha256=small.query,
            text=plan.query_digest if plan else "",
        ),
        parameters={name: shown_value(parameter_text(value)) for name, value in spec.parameters.items()},
        inputs=tuple(
            ReceiptInput(place=shown_value(item.shown), **read[item.name].model_dump())
            for item in spec.inputs
            if item.name in read
        ),
        engine=plan.engine if plan else "",
        options={name: shown_value(value_text(value)) for name, value in spec.executor_options.items()},
        release=(plan.release if plan else None) or "",
        asked=plan.image if plan else "",
        image=small.image,
        output={name: shown_value(text) for name, text in written(spec.output, spec.storage.sse_kms_key_id).items()},
        cluster=plan.cluster if plan else "",
        gpus=small.gpus,
        uri=spec.output.shown,
        version=out.version or 0,
        snapshot=out.snapshot,
        rows=out.rows,
        bytes=out.bytes,
        files=out.files,
        partitions=out.partitions,
        seconds=_known(small.seconds),
        gpu_seconds=_known(small.gpu_seconds),
        warnings=status.warnings[:64],
        expectations=out.expectations,
    )


def _known(phases: PhaseSeconds) -> dict[str, float]:
    return {name: value for name, value in phases if value is not None}


def _of_cluster(text: str, chosen: argparse.Namespace) -> Receipt:
    namespace, _, name = text.rpartition("/")
    try:
        cluster = Cluster(chosen.context)
        document = cluster.job(namespace or chosen.namespace or cluster.namespace, name)
    except NoClusterError as error:
        raise NoReceiptError(str(error)) from None
    return _read_job(document, chosen)


def _filed(path: Path, chosen: argparse.Namespace) -> Receipt:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NoReceiptError(f"it cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise NoReceiptError("it is no receipt, and no job")
    if document.get("kind") == "GpuQueryJob":
        return _read_job(document, chosen)
    try:
        return Receipt.model_validate(document)
    except ValidationError as error:
        raise NoReceiptError(f"it {unreadable(error)}") from None


def _read_job(document: Mapping[str, Any], chosen: argparse.Namespace) -> Receipt:
    try:
        job = GpuQueryJob.model_validate(document)
    except ValidationError as error:
        raise NoReceiptError(f"the job cannot be read by this gpuquery: {error.errors()[0]['msg']}") from None
    if chosen.uri is None:
        return of_job(job)
    small = job.status.receipt or ReceiptStatus()
    if small.reused:
        raise NoReceiptError(f"the job has reused the commit of {small.reused}, which has the receipt")
    there = job.status.output.location if job.status.output else ""
    if not (uri := chosen.uri or job.spec.output.uri or there):
        raise NoReceiptError(f"the output is {job.spec.output.shown}: give --uri the folder of that table")
    given = _access(chosen)
    access = given if given.endpoint or given.region else store_access(job.spec.storage)
    whole = _stored(uri, access, job.metadata.uid)
    # The pod does not know its image's digest, nor when it was asked for.
    return whole.model_copy(
        update={
            "image": small.image,
            "seconds": {**whole.seconds, **_known(small.seconds)},
            "gpu_seconds": {**whole.gpu_seconds, **_known(small.gpu_seconds)},
        }
    )


def _stored(uri: str, access: StoreAccess, uid: str = "") -> Receipt:
    from gpuquery.runner import local
    from gpuquery.runner.failures.errors import JobError

    root, folder, name = uri.partition(f"/{RECEIPTS}")
    try:
        return local.receipt(root, access, uid or (name.removesuffix(".json") if folder else ""))
    except JobError as error:
        raise NoReceiptError(error.message) from None


def _access(chosen: argparse.Namespace) -> StoreAccess:
    return StoreAccess(endpoint=chosen.endpoint, path_style=bool(chosen.endpoint), region=chosen.region)


def _rows(one: Receipt) -> Iterator[tuple[str, str]]:
    yield "job", f"{one.job.shown} ({one.job.uid}), attempt {one.attempt}"
    yield "commit", f"{one.commit} of {one.uri}"
    yield (
        "result",
        (
            f"{_count(one.rows, 'row')} in {_count(one.files, 'file')}, {one.bytes / 1e6:,.1f} MB"
            + (f", {_count(one.partitions, 'partition')}" if one.partitions else "")
        ),
    )
    yield "written", ", ".join(f"{name} {value}" for name, value in one.output.items())
    yield "query", f"{one.query.dialect or one.query.language}, SHA-256 {one.query.sha256}"
    for name, value in one.parameters.items():
        yield "parameter", f"{name}: {value}"
    for each in one.inputs:
        snapshot = f", snapshot {each.snapshot}" if each.snapshot else ""
        size = f"{_count(each.files, 'file')}, {each.bytes / 1e6:,.1f} MB{snapshot}"
        yield "input", f"{each.name}: {size}, {each.digest[:16]} {each.place}"
    yield "engine", f"{one.engine} x {one.cluster}" + (f" on {one.release}" if one.release else "")
    yield "options", ", ".join(f"{name} {value}" for name, value in one.options.items())
    yield "software", ", ".join(f"{name} {value}" for name, value in one.software.items())
    yield "image", one.image or one.asked
    yield "seconds", _phases(one.seconds)
    yield "GPU-seconds", _phases(one.gpu_seconds) and f"{_phases(one.gpu_seconds)} ({one.gpus} GPUs)"
    yield "expectations", one.expectations
    yield "varies", one.varies
    for text in one.warnings:
        yield "warning", text


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' if number != 1 else ''}"


def _phases(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{phase} {value:,.1f}" for phase, value in seconds.items() if value)
