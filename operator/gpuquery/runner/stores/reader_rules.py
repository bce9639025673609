"""What the GPU reader can read: KvikIO's rules, which are not those of Polars.

Polars reads schemas, KvikIO reads rows. So an input with a known schema may still be unreadable on a GPU: KvikIO takes
credentials, region and endpoint from environment variables alone (no cloud identity, no profile), and cudf-polars reads
CSV and NDJSON from local files only (`Reading CSV from remote is not yet supported`, `cudf_polars/dsl/ir.py` of 25.08
to 26.10).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from gpuquery.api.labels import CA_VARIABLE
from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input, InputFormat
from gpuquery.plan import releases
from gpuquery.plan.plan import Processes
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import vended

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.stores.base import Backend
    from gpuquery.runner.stores.vended import Loan

Files = Mapping[str, Iterable[str]]
NO_FILES: Files = MappingProxyType({})

COMPRESSED = (".gz", ".zst", ".zlib", ".bz2")
_WAY_OUT = "write it as parquet, or use engine: cpu"


def check_formats(plan: Plan) -> None:
    """Raise JobError(InvalidInput) that names each input that no GPU engine reads; looks at nothing but the plan."""
    if problems := [text for item in plan.inputs if (text := _unreadable(item))]:
        raise JobError(Failure.INVALID_INPUT, "\n".join(problems))


def check_access(plan: Plan, files: Files = NO_FILES) -> tuple[str, ...]:
    """Raise JobError if the GPU readers could not be given what they need to reach the inputs; returns warnings.

    Resolves credentials, which may ask a cloud's token service or a catalog, and reads no data.
    """
    if os.environ.get(CA_VARIABLE) and not _takes_ca(plan.release) and any(map(_over_tls, plan.inputs)):
        first = releases.those(lambda release: release.takes_ca)[0]
        raise JobError(
            Failure.INVALID_ENDPOINT,
            f"storage.caConfigMapName is set, and the GPU readers of {plan.release} trust only what their image "
            f"trusts: use release {first} or newer, engine: cpu, or an image that trusts your authority",
        )
    for item in plan.inputs:
        for uri in (*item.places, *list(files.get(item.name, ()))[:1]):
            if why := stores.of(uri).kept_from_gpus(uri, plan.store):
                raise JobError(Failure.INVALID_INPUT, f'input "{item.name}" ({uri}): {why}')
    return variables(plan, files)[1]


def _takes_ca(release: str | None) -> bool:
    known = releases.find(release) if release else None
    return known is None or known.takes_ca


def export(plan: Plan, files: Files = NO_FILES) -> None:
    """Put into this process's environment what the GPU readers need of credentials and places.

    Not before the sink has its own clients: those can renew credentials, and what stands in the environment cannot.
    """
    os.environ.update(variables(plan, files)[0])


def for_workers(plan: Plan) -> Mapping[str, str]:
    """Return what the GPU readers need in the environment of another process of this pod; raises StorageAuth."""
    return variables(plan)[0]


def variables(plan: Plan, files: Files = NO_FILES) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the environment for the stores of all inputs, and warnings.

    `files` are the places of the files of inputs whose catalog alone knows them. Raises StorageAuth, and InvalidInput
    for what no GPU reader can be told.
    """
    found: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    first: dict[Backend, tuple[str, Loan | None]] = {}
    for item in plan.inputs:
        # Places of one client are alike: a table may have a million files.
        for uri in {stores.together(uri): uri for uri in (*item.places, *files.get(item.name, ()))}.values():
            store, loan = stores.of(uri), vended.of(uri)
            if item.table is not None and (why := store.unread_by_gpus):
                raise _invalid(item, f"its files are in {stores.bucket(uri)}, and {why}: use engine: cpu")
            if loan is not None and plan.processes is Processes.PODS:
                raise _invalid(
                    item, "its catalog vends credentials for it, which Dask workers do not get: name a Secret in "
                    "storage.secretName, or use a worker set (runtime.release 26.06 or later, without dask) or "
                    "engine: cpu",
                )  # fmt: skip
            other, before = first.setdefault(store, (item.name, loan))
            if (before and before.lease) is not (loan and loan.lease):
                raise _invalid(
                    item, f'it and input "{other}" are read with different credentials, as a catalog vends some, and '
                    "the GPU readers take one for all: name a Secret for both in storage.secretName, or use engine: "
                    "cpu",
                )  # fmt: skip
    for store, (_, loan) in first.items():
        more, notes = store.reader_variables(plan.store, *([loan] if loan else []))
        found |= more
        warnings += notes
    return found, warnings


def _invalid(item: Input, why: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}" ({item.shown}): {why}')


def _over_tls(item: Input) -> bool:
    return not item.places or any(stores.of(uri).remote for uri in item.places)


def _unreadable(item: Input) -> str:
    for uri in item.places:
        if why := stores.of(uri).unread_by_gpus:
            return f'input "{item.name}" ({uri}): {why}: copy it to s3://, or use engine: cpu'
    text = item.format in (InputFormat.CSV, InputFormat.NDJSON)
    kind = item.format.value.upper()
    if text and any(stores.of(uri).remote for uri in item.places):
        return f'input "{item.name}" ({item.shown}): the GPU engines read {kind} from local files only: {_WAY_OUT}'
    if text and any(uri.lower().endswith(COMPRESSED) for uri in item.places):
        return f'input "{item.name}" ({item.shown}): the GPU engines read no compressed {kind}: {_WAY_OUT}'
    return ""
