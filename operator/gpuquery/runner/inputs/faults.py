"""What is wrong with the places of an input, in words that name the input and what is there instead."""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

MAX_NAMES_SHOWN = 5


def refuse_hive(item: Input) -> None:
    """Raise InvalidInput for text files in key=value folders."""
    if item.hive_partitioned:
        raise no_keys(item)


def no_keys(item: Input) -> JobError:
    """Explain that text files lie in key=value folders."""
    return JobError(
        Failure.INVALID_INPUT,
        f'input "{item.name}": key=value folders become columns with parquet only, not with {item.format.value}: '
        "set hivePartitioned: false",
    )


def missing(item: Input, store: StoreAccess) -> JobError:
    """Explain why nothing was found at an input's URI, with what is there instead."""
    uri = item.places[0]
    place = stores.locate(uri)
    before_star = place.prefix.split("*", maxsplit=1)[0]
    folder = before_star.rpartition("/")[0] + "/" if "/" in before_star else ""
    try:
        names = stores.of(uri).names(place, folder, store)
    except JobError as exc:
        return JobError(exc.failure, f'input "{item.name}": {uri}: {exc.message}')
    at = place.folder(folder)
    close = difflib.get_close_matches(place.prefix.removeprefix(folder).partition("/")[0], names, MAX_NAMES_SHOWN)
    shown = ", ".join((close + [name for name in names if name not in close])[:MAX_NAMES_SHOWN])
    more = ", ..." if len(names) > MAX_NAMES_SHOWN else ""
    found = f"in {at} there is {shown}{more}" if names else f"there is nothing in {at}"
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": no file matches {uri}; {found}')


def table_root(item: Input, store: StoreAccess) -> str:
    """The folder of the input if a table's log lies in it, else nothing."""
    uri = item.places[0]
    folder = uri.split("*")[0].rpartition("/")[0] if "*" in uri else uri.rstrip("/")
    with contextlib.suppress(JobError):
        log = stores.locate(f"{folder}/_commits")
        if any(name.endswith(".json") for name in stores.of(folder).names(log, f"{log.prefix}/", store)):
            return folder
    return ""
