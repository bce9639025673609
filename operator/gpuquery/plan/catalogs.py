"""Catalogs that a job reads and writes: those that the administrator has declared, and Secrets.

A catalog that nobody has declared is a Secret of the job's namespace, with the catalog's options as its keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gpuquery.api.catalogs import OPTIONS, SECRET_NAME, SECRETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import GpuQueryJobSpec


def declared(spec: GpuQueryJobSpec, catalogs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the options of the declared catalogs that a job uses, by name."""
    return {
        name: {key: value for key, value in catalogs[name].items() if key != SECRET_NAME}
        for name in _names(spec)
        if name in catalogs
    }


def secrets(
    spec: GpuQueryJobSpec, catalogs: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, Mapping[str, bool]]]:
    """Return the Secret that the pods need for a catalog, with its keys and whether each may be missing."""
    found: dict[str, tuple[str, Mapping[str, bool]]] = {}
    for name in _names(spec):
        if name not in catalogs:
            found[name] = (name, {key: key != "uri" for key in sorted(OPTIONS)})
        elif secret := catalogs[name].get(SECRET_NAME):
            found[name] = (secret, dict.fromkeys(sorted(SECRETS), True))
    return found


def ports(spec: GpuQueryJobSpec, catalogs: Mapping[str, Mapping[str, str]]) -> set[int]:
    """Return the ports of the declared catalogs that a job uses."""
    return {port for options in declared(spec, catalogs).values() if (port := _port(options["uri"]))}


def _port(uri: str) -> int | None:
    try:
        return urlsplit(uri).port
    except ValueError:
        return None  # no number, or none of a port: the pods tell that they cannot connect


def _names(spec: GpuQueryJobSpec) -> Sequence[str]:
    tables = (*(one.table for one in spec.inputs), spec.output.table)
    return list(dict.fromkeys(table.catalog for table in tables if table is not None))
