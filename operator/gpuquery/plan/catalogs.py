"""Catalogs of a job's inputs: those that the administrator has declared, and the Secrets that the others are.

A catalog that nobody has declared is a Secret of the job's namespace, with the catalog's options as its keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gpuquery.api.catalogs import OPTIONS, SECRET_NAME, SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.api.spec import Input


def declared(inputs: Iterable[Input], catalogs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the options of the declared catalogs that inputs use, by name."""
    return {
        name: {key: value for key, value in catalogs[name].items() if key != SECRET_NAME}
        for name in _names(inputs)
        if name in catalogs
    }


def secrets(
    inputs: Iterable[Input], catalogs: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, Mapping[str, bool]]]:
    """Return the Secret that the pods need for a catalog, with its keys and whether each may be missing."""
    found: dict[str, tuple[str, Mapping[str, bool]]] = {}
    for name in _names(inputs):
        if name not in catalogs:
            found[name] = (name, {key: key != "uri" for key in sorted(OPTIONS)})
        elif secret := catalogs[name].get(SECRET_NAME):
            found[name] = (secret, dict.fromkeys(sorted(SECRETS), True))
    return found


def ports(inputs: Iterable[Input], catalogs: Mapping[str, Mapping[str, str]]) -> set[int]:
    """Return the ports of the declared catalogs that inputs use."""
    return {port for options in declared(inputs, catalogs).values() if (port := _port(options["uri"]))}


def _port(uri: str) -> int | None:
    try:
        return urlsplit(uri).port
    except ValueError:
        return None  # no number, or none of a port: the pods tell that they cannot connect


def _names(inputs: Iterable[Input]) -> Sequence[str]:
    return list(dict.fromkeys(one.table.catalog for one in inputs if one.table is not None))
